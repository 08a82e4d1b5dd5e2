// Loaded into the suite's process: it has no option for a header, and our server answers nobody without its token.
import http from "node:http";
import { createRequire } from "node:module";

const { getGlobalDispatcher, setGlobalDispatcher } = createRequire(process.argv[1])("undici");
const authorization = `Bearer ${process.env.CONFORMANCE_TOKEN}`;

// Most scenarios use `fetch` or undici's own `request`, which share one dispatcher …
setGlobalDispatcher(
  getGlobalDispatcher().compose((dispatch) => (options, handler) => {
    const headers = { authorization };
    const given = options.headers ?? {};
    if (Array.isArray(given)) {
      for (let i = 0; i < given.length; i += 2) headers[given[i]] = given[i + 1];
    } else {
      Object.assign(headers, Symbol.iterator in given ? Object.fromEntries(given) : given);
    }
    return dispatch({ ...options, headers }, handler);
  }),
);

// … and two write their headers by hand.
const request = http.request;
http.request = (options, ...rest) =>
  request({ ...options, headers: { authorization, ...options.headers } }, ...rest);
