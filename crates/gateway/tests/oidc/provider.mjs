// A real OpenID provider for the tests, for who is sent back to the address that is its argument. The interaction asks a
// browser for a name, signs in whoever `?login=` names, and asks nobody for consent.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const people = {
  ada: { preferred_username: 'Ada', name: 'Ada Lovelace', groups: ['sre', 'chess'] },
  bob: { preferred_username: 'bob', name: 'Bob', groups: ['chess'] },
  root: { preferred_username: 'admin-of-old', name: 'Root', groups: ['sre', 'owners'] },
};
const key = (kind, options, alg) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: alg,
});
const client = (alg) => ({
  client_id: alg, client_secret: 'client-secret-of-the-tests', id_token_signed_response_alg: alg,
  redirect_uris: [process.argv[2]],
});
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    jwks: { keys: [
      key('rsa', { modulusLength: 2048 }, 'RS256'),
      key('ec', { namedCurve: 'P-256' }, 'ES256'),
      key('ed25519', {}, 'EdDSA'),
    ] },
    clients: ['RS256', 'ES256', 'EdDSA'].map(client),
    cookies: { keys: ['cookies of the tests'] },
    features: { devInteractions: { enabled: false } },
    pkce: { required: () => true },
    scopes: ['openid', 'profile', 'groups'],
    claims: { openid: ['sub'], profile: ['preferred_username', 'name'], groups: ['groups'] },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: `sub-of-${id}`, ...people[id] }) }),
    async loadExistingGrant(context) {
      const grant = new provider.Grant({
        clientId: context.oidc.client.clientId, accountId: context.oidc.session.accountId,
      });
      grant.addOIDCScope('openid profile groups');
      await grant.save();
      return grant;
    },
  });
  const answer = provider.callback();
  server.on('request', (request, response) => {
    const url = new URL(request.url, issuer);
    if (!url.pathname.startsWith('/interaction/')) return answer(request, response);
    if (!url.searchParams.has('login')) {
      response.setHeader('content-type', 'text/html');
      return response.end('<title>Provider</title><form><input name="login"><button>Sign in</button></form>');
    }
    const login = { accountId: url.searchParams.get('login') };
    return provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
  });
  console.log(issuer);
});
