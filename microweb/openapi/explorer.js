// The page of the document: operations by tag, what they take and answer, and a form that sends a request.
// Every text of the document is put in as text; no markup is ever made of it.
"use strict";
(() => {
  const documentUrl = document.body.dataset.document;
  const main = document.getElementById("operations");
  const METHODS = ["get", "post", "put", "patch", "delete", "options", "head", "trace"];
  const credentials = {};
  let api;

  function make(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== undefined && child !== null && child !== ""));
    return element;
  }

  // Lines that were broken by an editor run on, as in CommonMark; those of lists and tables stay, and two spaces break.
  function flow(text) {
    return (text || "").replace(/([^\s\\]) ?\n(?=[^\s\-*+>#|\d])/g, "$1 ");
  }

  function resolve(thing) {
    let seen = 0;
    while (thing && thing.$ref && seen++ < 20) {
      thing = thing.$ref.slice(2).split("/").reduce((here, part) => here && here[part.replace(/~1/g, "/").replace(/~0/g, "~")], api);
    }
    return thing || {};
  }

  // A schema in one line: integer >= 1, array of Line, "red" | "green".
  function nameType(schema) {
    if (!schema || schema === true) return "anything";
    if (schema.$ref) return schema.$ref.split("/").pop();
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
    const options = schema.anyOf || schema.oneOf;
    if (options) return options.filter((each) => each.maxLength !== 0).map(nameType).join(" | ");
    if (schema.allOf) return schema.allOf.map(nameType).join(" & ");
    if (schema.type === "array") return "array of " + (schema.prefixItems ? schema.prefixItems.map(nameType).join(", ") : nameType(schema.items));
    let text = [].concat(schema.type || "anything").join(" | ");
    if (schema.format) text += " (" + schema.format + ")";
    if (schema.minimum !== undefined) text += " >= " + schema.minimum;
    if (schema.exclusiveMinimum !== undefined) text += " > " + schema.exclusiveMinimum;
    if (schema.maximum !== undefined) text += " <= " + schema.maximum;
    if (schema.exclusiveMaximum !== undefined) text += " < " + schema.exclusiveMaximum;
    if (schema.minLength) text += ", at least " + schema.minLength + " characters";
    if (schema.maxLength !== undefined) text += ", at most " + schema.maxLength + " characters";
    return text;
  }

  // A schema as a table of its members, each class once.
  function drawSchema(schema, depth = 0) {
    const found = resolve(schema);
    const line = make("code", {}, nameType(schema));
    const inside = found.properties ? found : resolve(found.items);
    const options = (found.anyOf || found.oneOf || []).filter((each) => resolve(each).properties);
    const box = make("div", {}, line, found.description && !depth ? make("p", { class: "soft" }, flow(found.description)) : "");
    if (depth > 3) return box;
    if (inside.properties) box.append(drawMembers(inside, depth));
    for (const option of options) box.append(make("h3", {}, nameType(option)), drawMembers(resolve(option), depth));
    return box;
  }

  function drawMembers(schema, depth) {
    const rows = Object.entries(schema.properties).map(([name, member]) => {
      const needed = (schema.required || []).includes(name);
      const cell = make("td", {}, make("code", {}, nameType(member)));
      if (member.default !== undefined && member.default !== null) cell.append(make("span", { class: "soft" }, " default " + JSON.stringify(member.default)));
      if (member.description) cell.append(make("p", {}, flow(member.description)));
      const inner = resolve(member.items || (member.anyOf || [])[0] || member);
      if (inner.properties && inner !== schema) {
        cell.append(make("details", {}, make("summary", {}, "members"), drawMembers(inner, depth + 1)));
      }
      return make("tr", {}, make("th", {}, name, needed ? "" : make("span", { class: "soft" }, " (optional)")), cell);
    });
    if (depth > 4) return make("p", { class: "soft" }, "...");
    return make("table", {}, ...rows);
  }

  // A value that fits, to begin with.
  function sample(schema, depth = 0) {
    const found = resolve(schema);
    if (found.examples && found.examples.length) return found.examples[0];
    if (found.default !== undefined) return found.default;
    if (found.const !== undefined) return found.const;
    if (found.enum) return found.enum[0];
    const option = (found.anyOf || found.oneOf || [])[0];
    if (option) return sample(option, depth);
    const type = [].concat(found.type || "")[0];
    if (type === "object") {
      const members = {};
      for (const [name, member] of Object.entries(found.properties || {})) {
        if (depth < 4 && ((found.required || []).includes(name) || depth < 2)) members[name] = sample(member, depth + 1);
      }
      return members;
    }
    if (type === "array") return depth < 4 && found.items && found.items !== true ? [sample(found.items, depth + 1)] : [];
    if (type === "integer" || type === "number") {
      return found.minimum !== undefined ? found.minimum : found.exclusiveMinimum !== undefined ? found.exclusiveMinimum + 1 : 0;
    }
    if (type === "boolean") return false;
    if (type === "null" || !type) return null;
    return { date: "2026-01-31", "date-time": "2026-01-31T12:00:00Z", uuid: "00000000-0000-4000-8000-000000000000" }[found.format] || "text";
  }

  function drawOperation(path, method, operation, shared) {
    const parameters = [...(shared || []), ...(operation.parameters || [])].map(resolve);
    const box = make("details", { class: "operation" + (operation.deprecated ? " deprecated" : ""), id: operation.operationId });
    box.append(make("summary", {}, make("span", { class: "method " + method.toUpperCase() }, method.toUpperCase()),
      make("span", { class: "path" }, path), make("span", { class: "text" }, "  " + (operation.summary || ""))));
    box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) fill(); });
    function fill() {
      if (operation.deprecated) box.append(make("p", { class: "soft" }, "Deprecated."));
      if (operation.description) box.append(make("p", {}, flow(operation.description)));
      const security = (operation.security || api.security || []).map((each) => Object.keys(each).join(" and ")).join(", or ");
      if (security) box.append(make("p", { class: "soft" }, "Needs " + security + "."));
      box.append(drawForm(path, method, operation, parameters));
      box.append(make("h3", {}, "Answers"));
      for (const [status, given] of Object.entries(operation.responses || {})) box.append(drawAnswer(status, resolve(given)));
    }
    return box;
  }

  function drawAnswer(status, answer) {
    const kinds = Object.entries(answer.content || {});
    const inside = kinds.map(([name, media]) => make("div", {}, make("code", {}, name), " ",
      media.schema ? drawSchema(media.schema, 1) : ""));
    return make("details", {}, make("summary", {}, make("span", { class: "status" }, status), " ", answer.description || ""), ...inside);
  }

  // The form that sends a request ------------------------------------------------------------------

  function drawForm(path, method, operation, parameters) {
    const form = make("form", { novalidate: true });
    const inputs = parameters.map((parameter) => {
      const schema = parameter.schema || {};
      const example = parameter.example !== undefined ? parameter.example : (schema.examples || [])[0];
      const input = make("input", { name: parameter.in + ":" + parameter.name, "aria-label": parameter.name,
        placeholder: schema.default === undefined ? "" : JSON.stringify(schema.default) });
      if (example !== undefined) input.value = typeof example === "object" ? JSON.stringify(example) : example;
      return [parameter, input];
    });
    if (inputs.length) {
      const rows = inputs.map(([parameter, input]) => make("tr", {},
        make("th", {}, parameter.name, make("span", { class: "soft" }, " " + parameter.in + (parameter.required ? "" : ", optional"))),
        make("td", {}, make("code", {}, nameType(parameter.schema)), make("p", {}, flow(parameter.description)), input)));
      form.append(make("h3", {}, "Parameters"), make("table", {}, ...rows));
    }
    const body = operation.requestBody ? drawBody(form, resolve(operation.requestBody)) : null;
    form.append(make("button", { type: "submit" }, "Try it out"));
    const result = make("div", { class: "result", "aria-live": "polite" });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      result.replaceChildren(make("p", { class: "soft" }, "Waiting for the answer ..."));
      try {
        result.replaceChildren(...(await send(path, method, operation, inputs, body)));
      } catch (error) {
        result.replaceChildren(make("p", { class: "status bad" }, String(error)));
      }
    });
    return make("div", {}, form, result);
  }

  function drawBody(form, requestBody) {
    const kinds = Object.keys(requestBody.content || {});
    const kind = kinds[0];
    if (!kind) return null;
    const media = requestBody.content[kind];
    form.append(make("h3", {}, "Body" + (requestBody.required ? "" : " (optional)") + ": " + kinds.join(", ")), drawSchema(media.schema));
    if (kind.includes("json")) {
      const text = make("textarea", { name: "body", "aria-label": "Body", spellcheck: "false" });
      text.value = JSON.stringify(media.example !== undefined ? media.example : sample(media.schema), null, 2);
      form.append(text);
      return () => (text.value.trim() || requestBody.required ? { body: text.value, type: kind } : {});
    }
    const fields = Object.entries(resolve(media.schema).properties || {}).map(([name, schema]) => {
      const item = schema.type === "array" ? resolve(schema.items) : schema;
      const isFile = item.format === "binary";
      const input = make("input", { name: "form:" + name, "aria-label": name, type: isFile ? "file" : "text", multiple: isFile && schema.type === "array" });
      form.append(make("h3", {}, name), input);
      return [name, input, isFile];
    });
    return () => {
      const data = new FormData();
      for (const [name, input, isFile] of fields) {
        if (isFile) for (const file of input.files) data.append(name, file);
        else if (input.value !== "") data.append(name, input.value);
      }
      return { body: data };
    };
  }

  function readValue(parameter, text) {
    if ((parameter.schema || {}).type !== "array") return [text];
    return text.split(",").map((each) => each.trim()).filter((each) => each);
  }

  async function send(path, method, operation, inputs, body) {
    const query = new URLSearchParams();
    const headers = {};
    let target = path;
    for (const [parameter, input] of inputs) {
      const text = input.value;
      if (parameter.in === "path") {
        if (!text) throw new Error("The path needs a value for " + parameter.name + ".");
        target = target.split("{" + parameter.name + "}").join(encodeURIComponent(text));
      } else if (text === "") continue;
      else if (parameter.in === "query") for (const each of readValue(parameter, text)) query.append(parameter.name, each);
      else if (parameter.in === "header") headers[parameter.name] = text;
      else if (parameter.in === "cookie") document.cookie = parameter.name + "=" + text + "; path=/; samesite=strict";
    }
    addCredentials(operation, headers, query);
    const request = { method: method.toUpperCase(), headers, credentials: "same-origin" };
    const content = body ? body() : {};
    if (content.body !== undefined) request.body = content.body;
    if (content.type) headers["Content-Type"] = content.type;
    const base = findServer(operation);
    const url = base + target + (query.size ? "?" + query : "");
    const started = performance.now();
    const response = await fetch(url, request);
    const taken = Math.round(performance.now() - started);
    return drawResponse(response, request.method + " " + url, taken, await readBody(response));
  }

  // Where the page itself comes from, unless the document names another path of this origin.
  function findServer(operation) {
    const server = ((operation.servers || api.servers || [])[0] || {}).url || "/";
    const url = new URL(server, new URL(documentUrl, location.href));
    if (url.origin !== location.origin) throw new Error("This operation is served at " + url.origin + "; the page asks its own origin only.");
    return url.pathname.replace(/\/$/, "");
  }

  function addCredentials(operation, headers, query) {
    const schemes = (api.components || {}).securitySchemes || {};
    for (const name of new Set((operation.security || api.security || []).flatMap((each) => Object.keys(each)))) {
      const scheme = resolve(schemes[name]);
      const value = credentials[name];
      if (!value) continue;
      if (scheme.type === "apiKey" && scheme.in === "header") headers[scheme.name] = value;
      else if (scheme.type === "apiKey" && scheme.in === "query") query.append(scheme.name, value);
      else if (scheme.type === "http" && scheme.scheme === "basic") headers.Authorization = "Basic " + btoa(value);
      else if (scheme.type !== "apiKey") headers.Authorization = "Bearer " + value;
    }
  }

  async function readBody(response) {
    const kind = response.headers.get("content-type") || "";
    if (/json/.test(kind)) {
      const text = await response.text();
      try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
    }
    if (/^text\/|xml|javascript/.test(kind)) return (await response.text()).slice(0, 100000);
    const size = (await response.arrayBuffer()).byteLength;
    return size ? "(" + size + " bytes)" : "";
  }

  function drawResponse(response, request, taken, text) {
    const names = [...response.headers].map(([name, value]) => name + ": " + value).join("\n");
    return [make("h3", {}, "Answer"), make("p", {}, make("code", {}, request)),
      make("p", { class: "status " + (response.ok ? "good" : "bad") }, response.status + " " + response.statusText + " (" + taken + " ms)"),
      make("details", {}, make("summary", {}, "Headers"), make("pre", {}, names)),
      text ? make("pre", { class: "body" }, text) : ""].filter((each) => each);
  }

  // The page ---------------------------------------------------------------------------------------

  function drawCredentials() {
    const schemes = Object.entries((api.components || {}).securitySchemes || {});
    const rows = schemes.filter(([, scheme]) => !(scheme.type === "apiKey" && scheme.in === "cookie")).map(([name, scheme]) => {
      const input = make("input", { type: "password", autocomplete: "off", "aria-label": name,
        placeholder: scheme.scheme === "basic" ? "user:password" : "token" });
      input.addEventListener("input", () => { credentials[name] = input.value; });
      return make("tr", {}, make("th", {}, name, make("span", { class: "soft" }, " " + (scheme.scheme || scheme.type))),
        make("td", {}, make("p", {}, flow(scheme.description)), input));
    });
    return rows.length ? make("details", { class: "operation" }, make("summary", {}, "Credentials"), make("table", {}, ...rows),
      make("p", { class: "soft" }, "They stay on this page until it is left.")) : "";
  }

  function draw() {
    const about = document.getElementById("about");
    document.querySelector("h1").append(" ", make("small", {}, api.info.version));
    about.append(flow(api.info.description), " ", make("a", { href: documentUrl }, "openapi.json"));
    const groups = new Map((api.tags || []).map((tag) => [tag.name, { text: flow(tag.description), boxes: [] }]));
    for (const [path, item] of Object.entries(api.paths || {})) {
      for (const method of METHODS) {
        if (!item[method]) continue;
        for (const tag of item[method].tags || ["default"]) {
          if (!groups.has(tag)) groups.set(tag, { boxes: [] });
          groups.get(tag).boxes.push(drawOperation(path, method, item[method], item.parameters));
        }
      }
    }
    main.replaceChildren(drawCredentials());
    for (const [name, group] of groups) {
      if (group.boxes.length) main.append(make("section", {}, groups.size > 1 ? make("h2", {}, name) : "", group.text ? make("p", {}, group.text) : "", ...group.boxes));
    }
    const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (wanted) { wanted.open = true; wanted.scrollIntoView(); }
  }

  fetch(documentUrl, { credentials: "same-origin" })
    .then((response) => { if (!response.ok) throw new Error("The document was answered with " + response.status + "."); return response.json(); })
    .then((found) => { api = found; draw(); })
    .catch((error) => main.replaceChildren(make("p", { class: "status bad" }, String(error))));
})();
