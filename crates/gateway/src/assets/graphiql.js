// Starts GraphiQL against this server: HTTP for queries and mutations, a WebSocket for subscriptions. A token, where one is
// needed, is given in the editor of headers; a signed-in page is known by its cookie.
"use strict";
{
  const socket = new URL("/graphql/ws", location.href);
  socket.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const wsClient = graphqlWs.createClient({ url: socket.href });
  const fetcher = GraphiQL.createFetcher({ url: "/graphql", wsClient });
  const defaultQuery = `# Everything is described under "Docs", to the left.
{
  healthScore { overall compute network storage database security }
  issues(first: 5) {
    nodes { severity type resource description detectedAt remediations { status description } }
  }
}
`;
  const place = document.getElementById("graphiql");
  ReactDOM.createRoot(place).render(React.createElement(GraphiQL, { fetcher, defaultQuery }));
}
