/* The card that says what a point is: made of text nodes, so that no value of a repository is ever read as HTML. */
"use strict";

/** A card inside `place`, which is positioned. show(run, x, y) puts it near that pixel of `place`, hide() away;
 * follows(canvas) ties it to the points of the plotly chart in `canvas`, whose customdata are indexes of runs. */
window.wer.card = function (place) {
  const { runs, varied, valueOf, figure, percent, spread, energy, count, duration, shorten, isWeb, follow } = window.wer;
  const MOST_CHANGES = 8;
  const MOST_PARAMETERS = 10;
  const card = add(place, "div", "card");
  const ring = add(place, "div", "ring");
  card.setAttribute("role", "status");
  card.hidden = ring.hidden = true;
  let shown = null;
  let at = [0, 0]; // the pixel that the card belongs to
  let touched = false; // whether a finger was the last to point at something
  let told = false; // whether that touch has been answered: plotly reports one tap twice
  let pressed = null; // what was shown when a button went down, and where that was
  document.addEventListener("pointerdown", (event) => {
    touched = event.pointerType === "touch";
    told = false;
    pressed = touched || !shown ? null : { run: shown, x: event.clientX, y: event.clientY };
    if (!place.contains(event.target)) hide();
  }, true);

  // Plotly forgets the point under a pointer that still moves when its button goes down, and then reports no click.
  place.addEventListener("click", ({ isTrusted, clientX, clientY }) => {
    if (!isTrusted || !pressed) return;
    const box = place.getBoundingClientRect();
    const dragged = Math.hypot(clientX - pressed.x, clientY - pressed.y) > 5;
    const beside = Math.hypot(clientX - box.left - at[0], clientY - box.top - at[1]) > 40;
    if (!dragged && !beside) follow(pressed.run);
  });

  function add(parent, tag, name, text) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  function figures(run) {
    const edits = ["substitutions", "deletions", "insertions"].map((name) => figure(run, name));
    const rate = (name) => [figure(run, name), (value) => percent(value) + (run.spreads[name] ? ` ${spread(run.spreads[name][0])}` : "")];
    const [, lowest, highest] = run.spreads.test_wer || [];
    return [
      ["Test WER", ...rate("test_wer")],
      [`${run.seeds} seeds`, lowest ?? null, () => `${percent(lowest)} to ${percent(highest)}`],
      ["Validation WER", ...rate("last_validation_wer")],
      ["Train WER", ...rate("last_train_wer")],
      ["Test CER", ...rate("test_cer")],
      ["S / D / I", edits.includes(null) ? null : edits, (all) => all.map(count).join(" / ")],
      ["Words", figure(run, "words"), count],
      ["Duration", figure(run, "duration"), duration],
      ["Energy", figure(run, "energy_kwh"), energy],
    ].filter(([, value]) => value !== null);
  }

  function changed([name, before, after]) {
    if (before && after) return `${name}: ${before} → ${after}`;
    return after ? `${name}: new, ${after}` : `${name}: gone`;
  }

  /** Those parameters that did not just change: the ones that vary between runs first. */
  function parameters(run) {
    const told = new Set(run.changes.map(([name]) => name));
    const own = Object.keys(run.hyper.parameters).filter((name) => !told.has(name)).sort();
    const names = [...own.filter((name) => varied.includes(name)), ...own.filter((name) => !varied.includes(name))];
    const some = names.slice(0, MOST_PARAMETERS).map((name) => shorten(`${name} ${valueOf(run, name)}`, 40));
    if (names.length > some.length) some.push(`${names.length - some.length} more`);
    if (some.length) add(card, "p", "parameters", some.join(" · "));
  }

  function fill(run) {
    card.replaceChildren();
    const head = add(card, "p", "quiet");
    add(head, "span", "sha", run.short);
    head.append([run.author, run.when].filter(Boolean).map((text) => ` · ${text}`).join(""));
    if (run.legacy) add(card, "p", "what", "Run without a landing");
    else if (run.subject) add(card, "p", "what", run.subject);
    if (run.part) add(card, "p", "quiet", run.counts ? `One run of ${run.seeds}, with seed ${run.seed}` : "A run that no longer counts");
    else if (run.tries.includes("tried")) add(card, "p", "quiet", run.tries);
    if (run.failed) add(card, "p", "why", `Failed${run.why ? `: ${run.why}` : ""}`);
    if (run.hyper) {
      const list = add(card, "dl");
      for (const [name, value, write] of figures(run)) {
        add(list, "dt", "", name);
        add(list, "dd", "", write(value));
      }
    }
    if (run.changes.length) {
      const changes = add(card, "div", "changes");
      for (const change of run.changes.slice(0, MOST_CHANGES)) add(changes, "p", "", changed(change));
      if (run.changed > MOST_CHANGES) add(changes, "p", "quiet", `and ${run.changed - MOST_CHANGES} more`);
    }
    if (run.hyper) parameters(run);
    const where = run.failed && run.log ? "log" : isWeb(run.url) ? "commit" : "row in the table";
    const how = touched ? "Tap again" : "Click or Enter";
    add(card, "p", "follow", `${how} for its ${where}`);
  }

  function show(run, x, y) {
    if (shown !== run) fill(run);
    shown = run;
    at = [x, y];
    card.hidden = ring.hidden = false;
    ring.style.left = `${x}px`;
    ring.style.top = `${y}px`;
    const gap = 16;
    const right = x + gap;
    const left = right + card.offsetWidth <= place.clientWidth ? right : x - gap - card.offsetWidth;
    const lowest = place.clientHeight - card.offsetHeight;
    const beside = Math.max(Math.min(0, lowest), Math.min(y - card.offsetHeight / 2, lowest));
    card.style.left = `${Math.max(0, left)}px`;
    card.style.top = `${left < 0 ? y + gap : beside}px`;
  }

  function hide() {
    shown = null;
    card.hidden = ring.hidden = true;
  }

  function follows(canvas) {
    const showPoint = ({ x, y, xaxis, yaxis, customdata }) => {
      show(runs[customdata], xaxis._offset + xaxis.d2p(x), yaxis._offset + yaxis.d2p(y));
    };
    canvas.on("plotly_hover", ({ points: [point] }) => showPoint(point));
    canvas.on("plotly_unhover", hide);
    // A finger does not hover: its first tap shows the card and its second goes where the card says.
    canvas.on("plotly_click", ({ points: [point] }) => {
      if (!touched || told) return;
      told = true;
      if (shown === runs[point.customdata]) follow(shown);
      else showPoint(point);
    });
  }

  return {
    show, hide, follows,
    get shown() {
      return shown;
    },
  };
};
