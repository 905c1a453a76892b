(() => {
  "use strict";
  const page = document.body.dataset;

  async function ask(message) {
    const response = await fetch(page.url, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json", "x-microweb-debugger": page.token },
      body: JSON.stringify(message),
    });
    return { status: response.status, ...(await response.json().catch(() => ({}))) };
  }

  function make(tag, className, parent) {
    const element = document.createElement(tag);
    element.className = className;
    parent.append(element);
    return element;
  }

  function openConsole(button) {
    const frame = Number(button.dataset.frame);
    const box = make("div", "console", button.parentElement);
    const output = make("div", "output", box);
    const note = make("div", "note", box);
    const form = make("form", "", box);
    const prompt = make("span", "", form);
    const input = make("input", "", form);
    const history = [];
    let place = 0;
    let waiting = null; // The line that is run once the PIN was right.
    input.spellcheck = false;
    input.autocomplete = "off";
    button.remove();

    function wantPin(wants) {
      input.type = wants ? "password" : "text";
      input.setAttribute("aria-label", wants ? "PIN" : "Python");
      prompt.textContent = wants ? "PIN:" : ">>>";
      input.value = "";
      input.focus();
    }

    async function run(code) {
      const answer = await ask({ error: page.error, frame, code });
      note.textContent = answer.detail || "";
      if (answer.status === 200) {
        // Werkzeug's console escapes what the line printed; the page's policy runs no script that it could hold.
        output.insertAdjacentHTML("beforeend", answer.output);
        output.scrollTop = output.scrollHeight;
      } else if (answer.status === 401) {
        waiting = code;
        wantPin(true);
      }
    }

    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const value = input.value;
      input.value = "";
      try {
        if (waiting === null) {
          if (value.trim()) history.push(value);
          place = history.length;
          await run(value);
          return;
        }
        const answer = await ask({ pin: value });
        note.textContent = answer.status === 200 ? "" : answer.detail || "Refused.";
        if (answer.status === 200) {
          const code = waiting;
          waiting = null;
          wantPin(false);
          await run(code);
        }
      } catch (error) {
        note.textContent = `The server does not answer: ${error.message}`;
      }
    });
    input.addEventListener("keydown", (event) => {
      if (waiting !== null || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
      event.preventDefault();
      place = Math.min(Math.max(place + (event.key === "ArrowUp" ? -1 : 1), 0), history.length);
      input.value = history[place] ?? "";
    });
    wantPin(false);
  }

  for (const button of document.querySelectorAll("button.open")) {
    button.addEventListener("click", () => openConsole(button));
  }
  document.getElementById("copy").addEventListener("click", async (event) => {
    const plain = document.getElementById("plain");
    getSelection().selectAllChildren(plain);
    try {
      await navigator.clipboard.writeText(plain.textContent);
      event.target.textContent = "Copied";
    } catch {
      event.target.textContent = "Selected: copy it with the keyboard";
    }
  });
})();
