// Answers with as many bytes as its address says, always the same ones: the least that a Worker can do to answer.
const bodies = new Map();
const headers = { "content-type": "application/json", "cache-control": "public, max-age=1" };

export default {
  fetch(request) {
    const size = request.url.slice(request.url.lastIndexOf("/") + 1);
    if (!bodies.has(size)) bodies.set(size, "x".repeat(Number(size)));
    return new Response(bodies.get(size), { headers });
  },
};
