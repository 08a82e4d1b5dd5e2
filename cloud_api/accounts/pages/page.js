// What the links of our mails and the terminal's code lead to. The token is in the fragment, which no server sees; it is taken
// out of the address bar at once. Nothing is stored in the browser.

const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

const form = document.querySelector("form");
const said = document.getElementById("said");
const seen = document.getElementById("seen");
const typed = (name) => form.elements[name]?.value;

async function call(path, body, access) {
  const headers = { "content-type": "application/json" };
  if (access) headers.authorization = `Bearer ${access}`;
  const response = await fetch(`/api/v1${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw new Error(answer.localized_detail);
  return answer;
}

async function logIn() {
  let answer = await call("/auth/login", { mail: typed("mail"), password: typed("password"), device: "Browser" });
  if (answer.state === "second_factor_wanted") {
    if (!typed("code")) throw new Error("Type a code of your authenticator app, or a recovery code, as well.");
    const tokens = await call("/auth/login/second-factor", { challenge: answer.challenge, code: typed("code") });
    answer = { tokens };
  }
  return answer.tokens.access_token;
}

let access = null;

const does = {
  verify: async () => { await call("/auth/verify", { token }); return "Your address is confirmed. You can log in now."; },
  mail: async () => { await call("/auth/mail/confirm", { token }); return "Your new address counts from now on."; },
  reset: async () => {
    await call("/auth/password/reset", { token, password: typed("password") });
    return "Your new password counts from now on. All devices were logged out.";
  },
  forgotten: async () => (await call("/auth/password/forgotten", { mail: typed("mail") })).message,
  device: async () => {
    const user_code = typed("user_code");
    if (access === null) {
      access = await logIn();
      const device = await call("/account/device/look", { user_code }, access);
      seen.textContent = `“${device.device}” from the network ${device.network} wants to use your account. `
        + "Press the button again only if you have just started this yourself.";
      return "";
    }
    await call("/account/device/decide", { user_code, approve: true }, access);
    await call("/auth/logout", {}, access);
    return "Approved. You can go back to the terminal.";
  },
};

if (form.elements.user_code) form.elements.user_code.value = token;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  try {
    said.textContent = await does[form.dataset.does]();
  } catch (error) {
    said.textContent = error.message;
  }
});
