// Hands what it is sent to the object that keeps a site's presence, as the recorder of an isolate does; where there are
// several, to the one whose number is the path.
export default {
  fetch(request, env) {
    const number = new URL(request.url).pathname.slice(1);
    const name = Number(number) ? `bench\x1f${number}` : "bench";
    return env.PRESENCE.getByName(name).fetch("http://object/", { method: "POST", body: request.body });
  },
};
