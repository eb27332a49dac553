// Google's Node client obtains an ID token in each way that it has, from the files it is given.
//
// The environment, the arguments and what is printed are those of tokens.py; it verifies by itself and
// by jose.

import { readFileSync } from 'node:fs';
import { GoogleAuth, Impersonated, JWT, OAuth2Client, UserRefreshClient } from 'google-auth-library';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const env = process.env;
const audience = env.INTEROP_AUDIENCE;
const scopes = ['https://www.googleapis.com/auth/cloud-platform'];
const file = (name) => JSON.parse(readFileSync(env[name], 'utf8'));

const exchanges = {
  async metadata() {
    const client = await new GoogleAuth().getIdTokenClient(audience);
    const headers = await client.getRequestHeaders();
    return headers.get('authorization').replace('Bearer ', '');
  },
  async key_file() {
    const { client_email: email, private_key: key, private_key_id: keyId } = file('KEY_FILE');
    return new JWT({ email, key, keyId }).fetchIdToken(audience);
  },
  async impersonated() {
    const client = await new GoogleAuth({ keyFilename: env.IMPERSONATED_FILE, scopes }).getClient();
    return client.fetchIdToken(audience, { includeEmail: true });
  },
  async external_account() {
    // It has no ID tokens of its own for these: the workload impersonates by hand.
    const { service_account_impersonation_url: _, ...credentials } = file('EXTERNAL_FILE');
    const sourceClient = await new GoogleAuth({ credentials, scopes }).getClient();
    const options = { sourceClient, targetPrincipal: env.INTEROP_TARGET, targetScopes: scopes };
    return new Impersonated(options).fetchIdToken(audience, { includeEmail: true });
  },
  async external_access_token() {
    // What it is for in its eyes; the only exchange here whose token is none for an audience.
    const client = await new GoogleAuth({ keyFilename: env.EXTERNAL_FILE, scopes }).getClient();
    return (await client.getAccessToken()).token;
  },
  async user() {
    const info = file('USER_FILE');
    const client = new UserRefreshClient({
      clientId: info.client_id,
      clientSecret: info.client_secret,
      refreshToken: info.refresh_token,
      endpoints: { oauth2TokenUrl: env.INTEROP_TOKEN_URL },
    });
    await client.getAccessToken();
    return client.credentials.id_token;
  },
};

const own = new OAuth2Client({
  endpoints: {
    oauth2FederatedSignonPemCertsUrl: env.INTEROP_PEM_URL,
    oauth2FederatedSignonJwkCertsUrl: env.INTEROP_JWKS_URL,
  },
});
const jwks = createRemoteJWKSet(new URL(env.INTEROP_JWKS_URL));
const issuer = ['https://accounts.google.com', 'accounts.google.com'];

async function verify(exchange, idToken) {
  const wanted = exchange === 'user' ? file('USER_FILE').client_id : audience;
  await own.verifyIdToken({ idToken, audience: wanted });
  await jwtVerify(idToken, jwks, { audience: wanted, issuer, requiredClaims: ['exp', 'iat'] });
  // A verification that says yes to everything would prove nothing.
  for (const wrong of [
    own.verifyIdToken({ idToken, audience: 'https://other.example' }),
    jwtVerify(idToken, jwks, { audience: 'https://other.example', issuer }),
  ]) {
    await wrong.then(() => { throw new Error(`${exchange}: for another audience`); }, () => {});
  }
}

async function asked(exchange) {
  const started = performance.now();
  const errors = [];
  let token = null;
  for (let ask = 0; ask < Number(env.INTEROP_ASKS ?? 1); ask += 1) {
    if (ask > 0) await new Promise((resolve) => { setTimeout(resolve, 1000); });
    try {
      token = await exchanges[exchange]();
      break;
    } catch (error) {
      errors.push(`${error.name}: ${error.message}`);
    }
  }
  if (token && env.INTEROP_VERIFY) await verify(exchange, token);
  return { token, errors, seconds: (performance.now() - started) / 1000 };
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(exchanges);
const report = {};
for (const exchange of wanted) report[exchange] = await asked(exchange);
console.log(JSON.stringify(report));
