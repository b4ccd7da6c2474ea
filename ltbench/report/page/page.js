// Sorts, filters and switches the tables of the page. Everything works from attributes of the
// document; nothing is fetched, stored (except the color theme) or built from markup.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const boards = $$("section.board");
  if (!boards.length) return;

  const first = $("section.board.current").dataset.board;
  const blank = { g: first, v: "overview", s: "", f: "", st: "", c: "", q: "", m: "" };
  let state = { ...blank };

  // The URL. A hash without "=" is an ordinary anchor and does not change the state.

  const hashOfState = () => {
    const parts = Object.keys(blank)
      .filter((key) => state[key] !== blank[key])
      .map((key) => `${key}=${encodeURIComponent(state[key]).replaceAll("%2F", "/")}`);
    return parts.length ? `#${parts.join("&")}` : "#";
  };
  const readHash = () => {
    const found = { ...blank };
    const problems = [];
    for (const part of location.hash.slice(1, 2000).split("&")) {
      const [key, value = ""] = part.split("=", 2);
      if (!Object.hasOwn(blank, key)) continue;
      try {
        found[key] = decodeURIComponent(value);
      } catch {
        problems.push(`"${part.slice(0, 40)}" cannot be read`);
      }
    }
    const allowed = { f: "#family", st: "#state", c: "#cost" };
    for (const [key, id] of Object.entries(allowed)) {
      if (![...$(id).options].some((option) => option.value === found[key])) {
        problems.push(`no "${found[key].slice(0, 40)}" to filter by`);
        found[key] = "";
      }
    }
    const board = boards.find((section) => section.dataset.board === found.g);
    if (!board) {
      problems.push(`no board "${found.g.slice(0, 60)}" on this page`);
      found.g = first;
    }
    const views = $$(".view", board ?? $("section.board.current"));
    if (!views.some((view) => view.dataset.view === found.v)) found.v = "overview";
    return [found, problems];
  };
  const change = (values, push = false) => {
    state = { ...state, ...values };
    const hash = hashOfState();
    if (hash !== (location.hash || "#")) {
      history[push ? "pushState" : "replaceState"](null, "", hash);
    }
    apply();
  };

  // The current board and view.

  const current = () => boards.find((section) => section.dataset.board === state.g);
  const shownView = () => $(`.view[data-view="${CSS.escape(state.v)}"]`, current()) ?? $(".view", current());
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

  const value = (row, column, numeric) => {
    const cell = row.cells[column];
    if (!numeric) return plain(cell.textContent.trim());
    return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
  };
  const sortRows = (table, key, descending) => {
    const heads = $$("thead th", table);
    const column = heads.findIndex((head) => head.dataset.key === key);
    heads.forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const numeric = column >= 0 && heads[column].classList.contains("num");
    for (const body of $$("tbody.ranked, tbody.others", table)) {
      const rows = [...body.rows].sort((a, b) => a.dataset.i - b.dataset.i);
      if (column >= 0) {
        const values = new Map(rows.map((row) => [row, value(row, column, numeric)]));
        rows.sort((a, b) => {
          const [x, y] = [values.get(a), values.get(b)];
          if (x === null || y === null) return (x === null) - (y === null);
          const order = x < y ? -1 : x > y ? 1 : 0;
          return descending ? -order : order;
        });
      }
      body.append(...rows);
    }
  };

  const matcher = () => {
    const words = plain(state.q).split(/\s+/).filter(Boolean);
    const limit = state.c ? Number(state.c) : Infinity;
    return (row) =>
      (!state.f || row.dataset.family === state.f) &&
      (!state.st || row.dataset.state === state.st) &&
      (limit === Infinity || Number(row.dataset.cost ?? Infinity) <= limit) &&
      words.every((word) => plain(row.dataset.find).includes(word));
  };
  const mainRows = (section) => $$('.view[data-view="overview"] tr[data-state]', section);
  const filterRows = (table) => {
    const matching = mainRows(current()).filter(matcher());
    const kept = new Set(matching.map((row) => row.dataset.entry));
    let [shown, all] = [0, 0];
    for (const row of $$("tr[data-entry]", table)) {
      row.hidden = !kept.has(row.dataset.entry);
      all += 1;
      shown += !row.hidden;
    }
    for (const head of $$("tbody.others-head", table)) {
      head.hidden = ![...head.nextElementSibling.rows].some((row) => !row.hidden);
    }
    return [shown, all];
  };
  const boardsWithMatches = () => {
    const matches = matcher();
    return boards.filter((section) => section !== current() && mainRows(section).some(matches));
  };

  const apply = () => {
    for (const part of $$(".headline, .board")) part.classList.toggle("current", part.dataset.board === state.g);
    const view = shownView();
    for (const part of $$(".view", current())) part.classList.toggle("current", part === view);
    for (const button of $$(".views button", current())) {
      button.setAttribute("aria-pressed", button.dataset.view === view.dataset.view);
    }
    for (const button of $$(".count", current())) {
      button.setAttribute("aria-pressed", button.dataset.state === state.st);
    }
    $("#family").value = state.f;
    $("#state").value = state.st;
    $("#cost").value = state.c;
    if ($("#find").value !== state.q) $("#find").value = state.q;
    showFacets();
    if ($(".variant", view)) drawConfusion(view);
    const live = $("#live");
    const table = $("table.sortable", view);
    if (!table) {
      live.textContent = "";
      return;
    }
    const descending = state.s.endsWith("-");
    const key = state.s.slice(0, -1);
    sortRows(table, key, descending);
    const [shown, all] = filterRows(table);
    const head = $("th[aria-sort] .sort", table);
    const numeric = head && head.closest("th").classList.contains("num");
    const first = numeric ? (descending ? "highest first" : "lowest first") : descending ? "Z to A" : "A to Z";
    const order = head ? `Sorted by ${head.textContent}, ${first}. ` : "";
    live.textContent = `${order}${shown} of ${all} rows${shown < all ? `, ${all - shown} hidden` : ""}.`;
    if (!shown) {
      const others = boardsWithMatches().map((section) => `${section.dataset.dataset} (${section.dataset.grid})`);
      if (others.length) live.textContent += ` Other boards have matches: ${others.slice(0, 5).join("; ")}.`;
    }
  };

  // Confusion matrices, drawn when they are shown: rows are true classes, columns predicted ones.

  const READABLE = 20; // classes up to which cells have their number
  const images = (n, total) => `${n} of ${total} test images`;
  const drawConfusion = (view) => {
    const menu = $(".variant", view);
    menu.value = state.m;
    if (menu.selectedIndex < 0) menu.selectedIndex = 0;
    const box = $("[data-classes]", view);
    if (box.dataset.drawn === menu.value) return;
    box.dataset.drawn = menu.value;
    const classes = JSON.parse(box.dataset.classes);
    const n = classes.length;
    const counts = menu.selectedOptions[0].dataset.counts.split(",").map(Number);
    const table = document.createElement("table");
    table.className = n > READABLE ? "numbers matrix dense" : "numbers matrix";
    const addHead = (row, text, scope) => {
      const head = document.createElement("th");
      head.scope = scope;
      head.textContent = text;
      row.append(head);
    };
    const top = table.createTHead().insertRow();
    for (const name of ["true, predicted:", ...classes]) addHead(top, name, "col");
    const body = table.createTBody();
    const mistakes = [];
    classes.forEach((name, i) => {
      const row = body.insertRow();
      addHead(row, name, "row");
      const own = counts.slice(i * n, (i + 1) * n);
      const total = own.reduce((sum, count) => sum + count, 0);
      own.forEach((count, j) => {
        const cell = row.insertCell();
        cell.dataset.text = `${name} predicted as ${classes[j]}: ${images(count, total)}`;
        if (i === j) cell.className = "correct";
        else if (count) mistakes.push([count / total, count, cell.dataset.text]);
        if (count) cell.style.setProperty("--share", Math.sqrt(count / total));
        if (count && n <= READABLE) cell.textContent = count;
      });
    });
    box.replaceChildren(table);
    mistakes.sort((a, b) => b[0] - a[0] || b[1] - a[1]);
    $(".cell", view).textContent = "";
    $(".worst", view).textContent = mistakes.length
      ? `Most frequent mistakes: ${mistakes.slice(0, 5).map(([, , text]) => text).join("; ")}.`
      : "No mistakes.";
  };
  const showCell = (event) => {
    const text = event.target.dataset?.text;
    if (text) $(".cell", shownView()).textContent = text;
  };

  // Facets of boards: a menu if boards differ, else text.

  const names = ["Dataset", "Ratio", "Network", "Epochs", "Recipe", "Grid"];
  const facet = (section, name) => section.dataset[name.toLowerCase()];
  const menus = new Map();
  const buildFacets = () => {
    for (const name of names) {
      const values = [...new Set(boards.map((section) => facet(section, name)))];
      const label = document.createElement("label");
      if (values.length === 1) {
        label.className = "fact";
        const text = document.createElement("b");
        text.textContent = values[0];
        label.append(`${name} `, text);
      } else {
        const menu = document.createElement("select");
        menu.append(...values.map((text) => new Option(text, text)));
        menu.addEventListener("change", () => choose(name, menu.value));
        menus.set(name, menu);
        label.append(`${name} `, menu);
      }
      $("#facets").append(label);
    }
  };
  const showFacets = () => {
    for (const [name, menu] of menus) menu.value = facet(current(), name);
    $("#filters > summary strong").textContent = $("h2", current()).textContent;
  };
  const choose = (name, text) => {
    const inCommon = (section) => names.reduce((n, other) => n + (facet(section, other) === facet(current(), other)), 0);
    const candidates = boards.filter((section) => facet(section, name) === text);
    candidates.sort((a, b) => inCommon(b) - inCommon(a));
    change({ g: candidates[0].dataset.board, s: "", m: "" }, true);
  };

  // Copies the current table as the browser does, for documents and spreadsheets.

  const copy = () => {
    getSelection().selectAllChildren($("table", shownView()) ?? shownView());
    const done = document.execCommand("copy");
    $("#live").textContent = done ? "Copied the table." : "The table is selected: press Ctrl+C (Cmd+C) to copy it.";
  };

  // Events.

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches(".sort")) {
      const head = button.parentElement;
      const numeric = head.classList.contains("num");
      const bestFirst = numeric && !head.classList.contains("low") ? "-" : "+";
      const presses = [bestFirst, bestFirst === "-" ? "+" : "-"].map((sign) => head.dataset.key + sign);
      change({ s: [...presses, ""][presses.indexOf(state.s) + 1] });
    } else if (button.matches(".count")) {
      change({ st: state.st === button.dataset.state ? "" : button.dataset.state });
    } else if (button.matches(".views button")) {
      change({ v: button.dataset.view, s: "" }, true);
    } else if (button.id === "copy") {
      copy();
    } else if (button.id === "reset") {
      change({ f: "", st: "", c: "", q: "", s: "" });
    } else if (button.id === "theme") {
      cycleTheme();
    }
  });
  for (const [id, key] of [["family", "f"], ["state", "st"], ["cost", "c"]]) {
    $(`#${id}`).addEventListener("change", (event) => change({ [key]: event.target.value }));
  }
  for (const menu of $$(".variant")) menu.addEventListener("change", () => change({ m: menu.value }));
  for (const kind of ["click", "mouseover"]) document.addEventListener(kind, showCell);
  let typing;
  $("#find").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ q: event.target.value.slice(0, 200) }), 150);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select, textarea")) {
      event.preventDefault();
      $("#filters").open = true;
      $("#find").focus();
    }
  });

  const themes = ["auto", "light", "dark"];
  const showTheme = () => {
    $("#theme").textContent = `Colors: ${document.documentElement.dataset.theme ?? "auto"}`;
  };
  const cycleTheme = () => {
    const root = document.documentElement;
    const next = themes[(themes.indexOf(root.dataset.theme ?? "auto") + 1) % themes.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("ltbench-theme", next);
    } catch { /* no storage: the theme lasts until the page is closed */ }
    showTheme();
  };

  const follow = () => {
    const hash = location.hash;
    if (hash.length > 1 && !hash.includes("=")) {
      let target = null;
      try {
        target = document.getElementById(decodeURIComponent(hash.slice(1)));
      } catch { /* not an anchor */ }
      let details = target?.closest("details");
      while (details) {
        details.open = true;
        details = details.parentElement.closest("details");
      }
      const section = target?.closest("section.board");
      if (section) {
        const view = target.closest(".view")?.dataset.view;
        state = { ...state, g: section.dataset.board, v: view ?? state.v };
      }
      if (target) {
        apply();
        target.scrollIntoView();
        return;
      }
    }
    const [found, problems] = readHash();
    if (hash.length > 1 && !hash.includes("=")) problems.push(`nothing called "${hash.slice(1, 60)}" on this page`);
    state = found;
    $("#notice").textContent = problems.length ? `${problems.join("; ")}.` : "";
    $("#notice").hidden = !problems.length;
    apply();
  };

  if (matchMedia("(max-width: 639px)").matches) $("#filters").open = false;
  buildFacets();
  showTheme();
  window.addEventListener("hashchange", follow);
  window.addEventListener("popstate", follow);
  follow();
})();
