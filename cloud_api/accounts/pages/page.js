// What the links of our mails and the terminal's code lead to. The token is in the fragment, which no server sees; it is taken
// out of the address bar at once. Nothing is stored in the browser. Every sentence stands in the page, in the reader's language.

const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

const error = document.getElementById("error");
const page = document.querySelector("main").dataset.page;
const value = (id) => document.getElementById(id).value;
const fill = (id, text) => { document.getElementById(id).textContent = text; };

let access = null; // of somebody who has signed in here, for as long as the page is open
let challenge = null;
let userCode = token; // typed or from the link
let shownCode = null; // the one that is looked at, and the only one that can be decided
let decidableAt = 0;

// The second press of a double click on "go on" falls on what has come into its place: nobody has read that yet.
const LOOK_MS = 1000;

class Refused extends Error {
  constructor(problem) {
    super(problem.localized_detail);
    this.status = problem.status;
    this.code = problem.code;
  }
}

async function call(path, body, more = {}) {
  const headers = { "content-type": "application/json" };
  if (access) headers.authorization = `Bearer ${access}`;
  const response = await fetch(`/api/v1${path}`, { method: "POST", headers, body: JSON.stringify(body), ...more });
  const answer = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw new Refused(answer);
  return answer;
}

// The heading of the new step takes the focus, so that a screen reader reads on from there.
function show(step) {
  document.getElementById("intro").hidden = ["done", "approved", "refused", "none"].includes(step);
  for (const each of document.querySelectorAll("[data-step]")) each.hidden = each.dataset.step !== step;
  document.querySelector(`[data-step="${step}"] [tabindex]`)?.focus();
}

async function signedIn(tokens) {
  access = tokens.access_token;
  if (userCode) await look();
  else show("code");
}

async function look() {
  shownCode = null;
  try {
    const asking = await call("/account/device/look", { user_code: userCode });
    const at = new Date(asking.asked_at);
    shownCode = asking.user_code;
    fill("shown-code", shownCode);
    fill("shown-device", asking.device);
    fill("shown-at", at.toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" }));
    fill("shown-network", asking.network.replace(/\.0\/24$/, ".x"));
    show("decide");
    decidableAt = performance.now() + LOOK_MS;
  } catch (problem) {
    document.getElementById("user_code").value = userCode;
    show("code");
    throw problem;
  }
}

async function leave() {
  await call("/auth/logout", {}, { keepalive: true });
  access = null;
}

const does = {
  verify: async () => { await call("/auth/verify", { token, password: value("password") }); show("done"); },
  mail: async () => { await call("/auth/mail/confirm", { token }); show("done"); },
  reset: async () => { await call("/auth/password/reset", { token, password: value("password"), factors_lost: document.getElementById("factors_lost").checked }); show("done"); },
  factors: async () => { await call("/auth/factors/keep", { token }); show("done"); },
  forgotten: async () => { await call("/auth/password/forgotten", { mail: value("mail") }); show("done"); },
  sign_in: async () => {
    const answer = await call("/auth/login", { mail: value("mail"), password: value("password"), device: "Browser" });
    if (answer.state === "logged_in") return signedIn(answer.tokens);
    challenge = answer.challenge;
    const codes = answer.methods.some((method) => method !== "passkey");
    document.querySelector('[data-method="code"]').hidden = !codes;
    const passkey = document.querySelector('[data-method="passkey"]');
    if (passkey) passkey.hidden = !answer.methods.includes("passkey");
    return show("factor");
  },
  factor: async () => signedIn(await call("/auth/login/second-factor", { challenge, code: value("code") })),
  passkey: async () => {
    const { handle, options } = await call("/auth/login/passkey/options", {});
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    const credential = (await navigator.credentials.get({ publicKey })).toJSON();
    await signedIn(await call("/auth/login/passkey", { handle, credential, device: "Browser", challenge }));
  },
  look: async () => { userCode = value("user_code").trim(); await look(); },
  decide: async (choice) => {
    if (performance.now() < decidableAt) return;
    await call("/account/device/decide", { user_code: shownCode, approve: choice === "approve" });
    show(choice === "approve" ? "approved" : "refused");
    // It is decided. A session that could not be ended now is ended when the page is left, or ends by itself.
    await leave().catch(() => {});
  },
  another: async () => { userCode = ""; document.getElementById("user_code").value = ""; show("code"); },
};

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  // Not by disabling the button, which would take the focus from whoever pressed it.
  if (event.target.ariaBusy) return;
  const choice = event.submitter?.value;
  error.textContent = "";
  event.target.ariaBusy = "true";
  try {
    await does[event.target.dataset.does](choice);
  } catch (problem) {
    // Signed in too long ago: begin again, the code is still here.
    if ((problem.status === 401 || problem.code === "step_up_needed") && access) { access = null; challenge = null; show("sign_in"); }
    // A passkey that was not given is said by the browser itself; everything else that is no refusal is the network.
    if (!(problem instanceof DOMException)) {
      error.textContent = problem instanceof Refused ? problem.message : error.dataset.unreachable;
    }
  } finally {
    event.target.ariaBusy = null;
  }
});

// Whoever goes away without deciding leaves no session behind.
addEventListener("pagehide", () => { if (access) leave(); });

// The browser may bring a page back as it was left: its session is over, so it begins anew.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

if (!globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  for (const each of document.querySelectorAll('[data-does="passkey"]')) each.remove();
}

if (["verify", "mail", "reset", "factors"].includes(page) && !token) {
  error.textContent = error.dataset.noLink;
  show("none");
}
