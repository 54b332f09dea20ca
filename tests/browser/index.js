// `node --test tests/browser/` takes the folder for a module, and this for what is in it.
import "./demo.test.mjs";
import "./other-origin.test.mjs";
import "./widget.test.mjs";
