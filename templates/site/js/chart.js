/* WER over the landings in commit order. Each landing has a slot of the x axis and a point on the line, that of
 * the test with a bar where several seeds gave it a spread; runs that no longer count are open points. One that failed is a cross at the
 * bottom.
 */
"use strict";

window.wer.landingsChart = function (place) {
  const { runs, figure, forPlotly, colours, layout, config, ceiling, follow, onDoubleClick } = window.wer;
  const SERIES = [
    { key: "last_train_wer", name: "Train", colour: "train", symbol: "diamond", dash: "dot", width: 1.5, size: 6 },
    { key: "last_validation_wer", name: "Validation", colour: "validation", symbol: "square", dash: "dash", width: 1.5, size: 6 },
    { key: "test_wer", name: "Test", colour: "test", symbol: "circle", dash: "solid", width: 2.5, size: 8 },
  ].filter(({ key }) => runs.some((run) => figure(run, key) !== null));
  const FAILED = { key: "failed", name: "Failed", colour: "failed", symbol: "x" };

  const landings = runs.filter((run) => !run.part); // in the order of their slots
  const labels = landings.map((landing) => landing.short);
  const newest = labels.length - 1;
  const failures = landings.filter((landing) => landing.failed);
  const deviation = (run) => (run.spreads.test_wer || [0])[0]; // bars on all three series would hide one another
  const hidden = new Set();
  const canvas = document.createElement("div");
  canvas.className = "canvas";
  place.append(canvas);
  const card = window.wer.card(place);
  // At first, no more landings than can be told apart; y is null as long as it follows what is seen.
  const view = { x: [Math.max(0, newest - 99) - 0.5, newest + 0.5], y: null };
  const listeners = [];

  function traces(palette) {
    const made = [];
    // Where landings are closer than a point is wide, points shrink, or they would hide the line.
    const scale = Math.min(1, Math.max(0.35, (canvas.clientWidth - 78) / (view.x[1] - view.x[0]) / 10));
    const rim = { color: palette.panel, width: scale < 1 ? 0 : 1 };
    for (const series of SERIES) {
      const measured = runs.filter((run) => figure(run, series.key) !== null);
      const onLine = measured.filter((run) => !run.part);
      const colour = palette[series.colour];
      const visible = !hidden.has(series.key);
      const common = { type: "scatter", hoverinfo: "none", cliponaxis: false, visible, meta: series.key };
      const points = (some) => ({
        x: some.map((run) => run.slot), y: some.map((run) => figure(run, series.key)), customdata: some.map((run) => run.index),
      });
      made.push({
        ...common, ...points(onLine), name: series.name, mode: "lines+markers",
        line: { color: colour, width: series.width, dash: series.dash },
        marker: { color: colour, size: series.size * scale, symbol: series.symbol, line: rim },
        ...(series.key === "test_wer" ? { error_y: {
          type: "data", array: onLine.map(deviation), color: colour, thickness: 1.5, width: 4 * scale, visible: onLine.some(deviation),
        } } : {}),
      });
      const earlier = measured.filter((run) => run.part && !run.counts);
      if (earlier.length) {
        made.push({
          ...common, ...points(earlier), name: `${series.name}, earlier runs`, mode: "markers",
          marker: { color: colour, size: series.size * scale, symbol: `${series.symbol}-open`, line: { width: 1.5 } },
        });
      }
    }
    if (failures.length) {
      made.push({
        type: "scatter", mode: "markers", name: FAILED.name, meta: FAILED.key, hoverinfo: "none", yaxis: "y2",
        visible: !hidden.has(FAILED.key), x: failures.map((run) => run.slot), y: failures.map(() => 0),
        customdata: failures.map((run) => run.index),
        marker: { color: palette.failed, size: 10 * Math.sqrt(scale), symbol: FAILED.symbol, line: rim },
      });
    }
    return made;
  }

  /** The range of the y axis: from 0 to above the highest point that is seen. */
  function fitted() {
    const [low, high] = view.x;
    const seen = runs.filter((run) => run.slot >= low && run.slot <= high);
    const keys = SERIES.map((series) => series.key).filter((key) => !hidden.has(key));
    const rates = seen.flatMap((run) => keys.map((key) => (figure(run, key) ?? 0) + (key === "test_wer" ? deviation(run) : 0)));
    return [0, SERIES.length ? ceiling(Math.max(0, ...rates)) : 1];
  }

  /** As many labels as have room, evenly spaced, the newest landing among them. */
  function ticks() {
    const low = Math.max(0, Math.ceil(view.x[0]));
    const high = Math.min(newest, Math.floor(view.x[1]));
    const longest = Math.max(...labels.map((label) => label.length));
    const room = Math.max(1, Math.floor((canvas.clientWidth - 78) / (7.5 * Math.min(longest, 12) + 12)));
    const step = Math.max(1, Math.ceil((high - low + 1) / room));
    const slots = [];
    for (let slot = newest - Math.ceil((newest - high) / step) * step; slot >= low; slot -= step) slots.push(slot);
    return slots.reverse();
  }

  function draw() {
    const palette = colours();
    const base = layout(palette, canvas);
    const slots = ticks();
    const monospace = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace';
    window.Plotly.react(canvas, traces(palette), {
      ...base,
      xaxis: {
        ...base.xaxis, range: [...view.x], tickvals: slots, ticktext: slots.map((slot) => forPlotly(labels[slot], 12)),
        tickangle: 0, ticklabeloverflow: "allow", tickfont: { family: monospace, size: 11 },
      },
      yaxis: { ...base.yaxis, range: view.y ? [...view.y] : fitted() },
      yaxis2: { overlaying: "y", range: [-0.03, 1], visible: false, fixedrange: true }, // a cross is wholly inside
    }, config);
    for (const tell of listeners) tell();
  }

  /** Show the slots from `first` to `last`, moved so that no empty room is shown beside them. */
  function show(first, last) {
    const width = Math.min(last - first, newest);
    const from = Math.max(0, Math.min(first, newest - width));
    view.x = [from - 0.5, from + width + 0.5];
    view.y = null;
    draw();
  }

  function pixelOf(run) {
    const { xaxis, yaxis } = canvas._fullLayout;
    const rate = SERIES.filter(({ key }) => !hidden.has(key)).map(({ key }) => figure(run, key)).filter((x) => x !== null).pop();
    return [xaxis._offset + xaxis.l2p(run.slot), yaxis._offset + (rate === undefined ? yaxis._length : yaxis.l2p(rate))];
  }

  draw();
  card.follows(canvas);
  onDoubleClick(canvas, () => show(0, newest));
  canvas.on("plotly_relayout", (change) => {
    const axes = Object.keys(change);
    if (!axes.some((name) => /^[xy]axis\.range/.test(name))) return;
    if (axes.some((name) => name.startsWith("xaxis.range"))) view.x = [...canvas.layout.xaxis.range];
    if (axes.some((name) => name.startsWith("yaxis.range"))) view.y = [...canvas.layout.yaxis.range];
    card.hide();
    draw();
  });

  /* With the keyboard: from landing to landing. */
  place.addEventListener("keydown", (event) => {
    const at = card.shown ? card.shown.slot : null;
    const go = {
      ArrowLeft: at === null ? newest : at - 1, ArrowRight: at === null ? newest : at + 1, Home: 0, End: newest,
    }[event.key];
    if (go !== undefined) {
      const run = landings[Math.max(0, Math.min(newest, go))];
      const [low, high] = view.x;
      if (run.slot < low || run.slot > high) show(run.slot - Math.floor((high - low) / 2), run.slot + Math.floor((high - low) / 2) - 1);
      card.show(run, ...pixelOf(run));
    } else if (event.key === "Enter" && card.shown) {
      follow(card.shown);
    } else if (event.key === "Escape") {
      card.hide();
    } else {
      return;
    }
    event.preventDefault();
  });
  place.addEventListener("blur", () => card.hide());

  return {
    draw, show, card,
    slots: labels.length,
    series: [...SERIES].reverse().concat(failures.length ? [FAILED] : []),
    toggle(key, on) {
      hidden[on ? "delete" : "add"](key);
      draw();
    },
    get range() {
      return [Math.ceil(view.x[0]), Math.floor(view.x[1])];
    },
    /** Call `tell` after every drawing. */
    onDraw(tell) {
      listeners.push(tell);
      tell();
    },
  };
};
