// Hands what it is sent to the object that keeps a site's presence, as the recorder of an isolate does.
export default {
  fetch: (request, env) => env.PRESENCE.getByName("bench").fetch("http://object/", { method: "POST", body: request.body }),
};
