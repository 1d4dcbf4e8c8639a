// A foreign client of the gateway's GraphQL: node client.mjs http://localhost:4000, with the token in TOKEN.
//
// The schema as introspection tells it is built and validated by graphql-js, documents are validated against it before they
// are sent, and graphql-ws subscribes, receives and completes. Prints what held; exits with 1 at the first thing that does
// not.
import assert from "node:assert/strict";
import {
  buildClientSchema, getIntrospectionQuery, parse, printSchema, validate, validateSchema,
} from "graphql";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const base = process.argv[2];
const headers = {
  "content-type": "application/json",
  accept: "application/graphql-response+json",
  authorization: `Bearer ${process.env.TOKEN}`,
};

async function ask(query, variables) {
  const response = await fetch(`${base}/graphql`, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
  assert.equal(response.headers.get("content-type"), "application/graphql-response+json");
  return { status: response.status, ...(await response.json()) };
}

function held(what) {
  console.log(`held: ${what}`);
}

// Every option of introspection that clients use.
const introspection = getIntrospectionQuery({
  descriptions: true, specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true,
  inputValueDeprecation: true, oneOf: true,
});
const introspected = await ask(introspection);
assert.equal(introspected.errors, undefined, JSON.stringify(introspected.errors));
const schema = buildClientSchema(introspected.data);
assert.deepEqual(validateSchema(schema), []);
assert.match(printSchema(schema), /type Subscription/);
for (const type of ["Infrastructure", "Compute", "Metric", "Deployment", "AnomalyEvent"]) {
  const found = schema.getType(type);
  assert.ok(found, `${type} is missing`);
  for (const field of Object.values(found.getFields())) assert.ok(field.description, `${type}.${field.name} is not described`);
}
held("the schema is valid");

const document = `query Overview($first: Int!) {
  issues(first: $first) { edges { cursor node { id type severity remediations { id status } } } pageInfo { hasNextPage } }
  computeResources(first: $first) { nodes { id phase memoryBytes } }
  metrics(query: "vector(1)") { nodes { points { at value text } } }
}`;
assert.deepEqual(validate(schema, parse(document)), []);
const answer = await ask(document, { first: 5 });
assert.equal(answer.status, 200);
assert.equal(answer.errors, undefined, JSON.stringify(answer.errors));
assert.equal(answer.data.metrics.nodes[0].points[0].value, 1);
held("a valid document is answered");

const wrong = await ask("{ issues { nothing } }");
assert.equal(wrong.status, 400);
assert.equal(wrong.errors[0].extensions.code, "invalid_query");
held("an invalid one is refused with a code");

const client = createClient({
  url: `${base.replace("http", "ws")}/graphql/ws`,
  webSocketImpl: WebSocket,
  connectionParams: { Authorization: `Bearer ${process.env.TOKEN}` },
  retryAttempts: 0,
});
const stream = `subscription { metricsStream(query: "vector(2)", interval: 1) { at series { points { value } } } }`;
assert.deepEqual(validate(schema, parse(stream)), []);
let received = 0;
for await (const event of client.iterate({ query: stream })) {
  assert.equal(event.errors, undefined, JSON.stringify(event.errors));
  assert.equal(event.data.metricsStream.series[0].points[0].value, 2);
  received += 1;
  // Leaving the loop sends `complete`.
  if (received === 2) break;
}
held("a subscription is received and completed");

for await (const event of client.iterate({ query: `query { healthScore { overall } }` })) {
  assert.equal(event.data.healthScore.overall, 100);
}
held("a query over the same socket is answered and completed by the server");

const refused = client.iterate({ query: "subscription { nothing }" });
await assert.rejects(refused.next(), (errors) => errors[0].extensions.code === "invalid_query");
held("a subscription that is not valid is refused with a code");
await client.dispose();

const stranger = createClient({
  url: `${base.replace("http", "ws")}/graphql/ws`, webSocketImpl: WebSocket, retryAttempts: 0,
  connectionParams: { Authorization: "Bearer guessed-guessed-guessed" },
});
await assert.rejects(stranger.iterate({ query: stream }).next(), (closed) => closed.code === 4403);
held("who is not known is not let in");
console.log("all held");
