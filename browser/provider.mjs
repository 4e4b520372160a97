// An identity provider that is none of ours: npm's oidc-provider, certified by the OpenID Foundation, with its own pages for
// development, which take any name and password.

import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

export const CLIENT = { id: 'shop', secret: 'a secret: with 100% odd letters' };

/** A provider for an application at this address. It is called `localhost`, so to a browser it is another site. */
export async function startProvider(app) {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://localhost:${server.address().port}`;
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        redirect_uris: [`${app}/auth/callback`],
        post_logout_redirect_uris: [`${app}/signed-out`],
        backchannel_logout_uri: `${app}/auth/backchannel-logout`,
        backchannel_logout_session_required: true,
      },
    ],
    cookies: { keys: ['of no importance'] },
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
    features: { backchannelLogout: { enabled: true } },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    // Its own dispatcher sends nothing to loopback addresses, and the logout tokens have to go there.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  });
  const tokens = { asked: 0 };
  provider.on('grant.success', () => tokens.asked++);
  server.on('request', provider.callback());
  return {
    issuer,
    tokens,
    stop: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}
