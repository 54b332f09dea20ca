// The least that a Worker in front of a site can do.
export default { fetch: (request, env) => fetch(env.ORIGIN + new URL(request.url).pathname, request) };
