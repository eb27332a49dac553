// google-auth-library and jose judge each token of a file: a line of "1" and "0" for each of the two.

import { readFileSync } from 'node:fs';
import { OAuth2Client } from 'google-auth-library';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const env = process.env;
const audience = env.INTEROP_AUDIENCE;
const issuer = ['https://accounts.google.com', 'accounts.google.com'];
const google = new OAuth2Client({
  endpoints: {
    oauth2FederatedSignonPemCertsUrl: env.INTEROP_PEM_URL,
    oauth2FederatedSignonJwkCertsUrl: env.INTEROP_JWKS_URL,
  },
});
const jwks = createRemoteJWKSet(new URL(env.INTEROP_JWKS_URL), { cooldownDuration: 600_000 });
const options = { audience, issuer, algorithms: ['RS256'], requiredClaims: ['exp', 'iat'] };

const tokens = JSON.parse(readFileSync(env.INTEROP_TOKENS, 'utf8'));
for (const judge of [
  (idToken) => google.verifyIdToken({ idToken, audience }),
  (token) => jwtVerify(token, jwks, options),
]) {
  let verdicts = '';
  for (const token of tokens) {
    verdicts += await judge(token).then(() => '1', () => '0');
  }
  console.log(verdicts);
}
