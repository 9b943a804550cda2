/** Sends one operation over HTTP. */
export async function post(endpoint, operation, headers) {
  const answer = await fetch(endpoint, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Accept: 'application/graphql-response+json, application/json;q=0.9',
      ...headers,
    },
    body: JSON.stringify(operation),
  });
  return answer.json();
}

export function isUnauthenticated(errors) {
  return errors?.some((error) => error.extensions?.code === 'UNAUTHENTICATED') ?? false;
}

export function hasAuthorization(headers) {
  return Object.keys(headers).some((name) => name.toLowerCase() === 'authorization');
}
