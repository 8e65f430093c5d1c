"use strict";
// Draws the report's charts: inflates the library and the numbers that the page carries, asks nothing of the network.
(() => {
  const byId = (id) => document.getElementById(id);
  const touch = matchMedia("(pointer: coarse)").matches;
  const CANDLES = 260; // as many bars as still read as candlesticks
  let data, palette, scale = "linear", syncing = false, printing = false;

  async function inflate(id) {
    const packed = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  function readPalette() {
    const style = getComputedStyle(document.documentElement);
    const light = { paper: "#ffffff", ink: "#16202c", soft: "#5a6675", line: "#dde2e8", grid: "#e9ecf0", gain: "#0b5cad", loss: "#b34700", main: "#16324f", other: "#8a94a1" };
    palette = printing ? light : Object.fromEntries(Object.keys(light).map((name) => [name, style.getPropertyValue("--" + name).trim()]));
  }

  const units = { USD: "$", USDT: "$", USDC: "$", BUSD: "$", FDUSD: "$", TUSD: "$", DAI: "$" };
  const plain = (value, digits) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  function money(value, signed) {
    const digits = ["BTC", "XBT", "ETH", "BNB"].includes(data.quote) ? 8 : 2;
    const sign = value < 0 ? "−" : signed && value > 0 ? "+" : "";
    const unit = units[data.quote];
    return unit ? sign + unit + plain(Math.abs(value), digits) : sign + plain(Math.abs(value), digits) + " " + data.quote;
  }
  const percent = (value) => (value < 0 ? "−" : value > 0 ? "+" : "") + plain(Math.abs(value), 2) + "%";
  const minute = (ms) => new Date(ms).toISOString().slice(0, 16).replace("T", " ");
  function span(ms) {
    const hours = ms / 3600000;
    return hours < 1 ? Math.round(hours * 60) + " min" : hours < 48 ? hours.toFixed(1) + " h" : (hours / 24).toFixed(1) + " days";
  }

  function axis(more) {
    return { gridcolor: palette.grid, linecolor: palette.line, zerolinecolor: palette.line, tickcolor: palette.line, automargin: true, fixedrange: true, ...more };
  }
  const time = (more) => axis({ type: "date", hoverformat: "%Y-%m-%d %H:%M UTC", showgrid: false, tickangle: 0, fixedrange: touch, ...more });
  function layout(more) {
    return {
      paper_bgcolor: palette.paper, plot_bgcolor: palette.paper, margin: { l: 8, r: 8, t: 8, b: 8 }, showlegend: false, dragmode: touch ? false : "zoom",
      font: { family: "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif", size: 12, color: palette.soft },
      hoverlabel: { bgcolor: palette.paper, bordercolor: palette.line, font: { color: palette.ink, size: 12 }, align: "left" }, ...more,
    };
  }
  const legend = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)", itemsizing: "constant" };
  const config = { displayModeBar: false, responsive: true, doubleClick: "reset" };
  const draw = (id, traces, more) => byId(id) && Plotly.react(id, traces, layout(more), config);
  const moneyAxis = () => ({ tickformat: data.quote in units ? "$,~r" : ",~r", separatethousands: true });

  // What the axis of capital must hold for a stretch of time; Plotly wants powers of ten on a logarithmic one.
  function amountsIn([from, to]) {
    let low = Infinity, high = -Infinity;
    for (const curve of [data.equity, data.benchmark]) {
      curve?.t.forEach((at, row) => { if (at >= from && at <= to) { low = Math.min(low, curve.y[row]); high = Math.max(high, curve.y[row]); } });
    }
    if (low > high) return undefined;
    const room = (high - low) * 0.06 || Math.abs(high) * 0.01 || 1;
    return scale === "log" ? [Math.log10(low), Math.log10(high)] : [low - room, high + room];
  }

  function drawCapital() {
    const curve = (from, name, line, axisName, hover) => ({ type: "scatter", mode: "lines", name, x: from.t, y: from.y, line, yaxis: axisName, hovertemplate: hover });
    const amount = "%{y:" + (data.quote in units ? "$" : "") + ",.2f}";
    const shown = byId("capital").shown, traces = [];
    if (data.benchmark) traces.push(curve(data.benchmark, "Buy and hold", { color: palette.other, width: 1.1 }, "y", amount));
    traces.push(curve(data.equity, "Strategy", { color: palette.gain, width: 1.8 }, "y", amount));
    traces.push({ ...curve(data.drawdown, "Drawdown", { color: palette.loss, width: 1 }, "y2", "%{y:.2f}%"), fill: "tozeroy", showlegend: false });
    draw("capital", traces, {
      showlegend: true, legend, hovermode: "x unified", margin: { l: 8, r: 8, t: 30, b: 8 },
      xaxis: time({ anchor: "y2", range: shown }),
      yaxis: axis({ ...moneyAxis(), type: scale, domain: [0.34, 1], range: shown && amountsIn(shown), title: { text: "Capital" + (data.quote in units ? "" : ", " + data.quote), standoff: 8 } }),
      yaxis2: axis({ domain: [0, 0.27], ticksuffix: "%", rangemode: "tozero", range: data.drawdown.y.some((depth) => depth < 0) ? undefined : [-1, 0], title: { text: "Drawdown", standoff: 8 } }),
    });
  }

  // Bars in sight, as candlesticks when they are few, else one vertical stroke from lowest to highest per pixel.
  function priceTraces(price, from, to, width) {
    let first = price.t.findIndex((at) => at >= from), end = price.t.length;
    if (first < 0) first = 0;
    while (end > first + 1 && price.t[end - 1] > to) end -= 1;
    const count = end - first;
    if (count <= CANDLES) {
      const cut = (name) => price[name].slice(first, end);
      const look = (colour, fill) => ({ line: { color: colour, width: 1 }, fillcolor: fill });
      return [{ type: "candlestick", name: price.symbol, x: price.t.slice(first, end), open: cut("o"), high: cut("h"), low: cut("l"), close: cut("c"), increasing: look(palette.gain, palette.paper), decreasing: look(palette.loss, palette.loss), showlegend: false }];
    }
    const buckets = Math.min(count, Math.max(200, width)), x = [], y = [];
    for (let bucket = 0; bucket < buckets; bucket += 1) {
      const begin = first + Math.floor((count * bucket) / buckets), stop = first + Math.floor((count * (bucket + 1)) / buckets);
      let low = begin, high = begin;
      for (let at = begin; at < stop; at += 1) {
        if (price.l[at] < price.l[low]) low = at;
        if (price.h[at] > price.h[high]) high = at;
      }
      if (low <= high) { x.push(price.t[low], price.t[high]); y.push(price.l[low], price.h[high]); } else { x.push(price.t[high], price.t[low]); y.push(price.h[high], price.l[low]); }
    }
    return [{ type: "scatter", mode: "lines", name: price.symbol, x, y, line: { color: palette.other, width: 1 }, hoverinfo: "skip", showlegend: false }];
  }

  function tradeTraces(symbol) {
    const groups = { won: { x: [], y: [] }, lost: { x: [], y: [] } };
    const marks = {};
    const mark = (key, name, symbolName, colour) => (marks[key] ??= { type: "scatter", mode: "markers", name, x: [], y: [], text: [], marker: { symbol: symbolName, size: 8, color: colour, line: { color: palette.paper, width: 1 } }, hovertemplate: "%{text}<extra></extra>" });
    for (const [of, side, qty, opened, closed, entry, exit, pnl, fees, gain, isOpen, mae, mfe] of data.trades) {
      if (of !== symbol) continue;
      const won = pnl > 0, line = won ? groups.won : groups.lost, long = side === "buy";
      line.x.push(opened, closed, null);
      line.y.push(entry, exit, null);
      const text = `<b>${long ? "Long" : "Short"} ${qty} · ${money(pnl, true)} (${percent(gain)})</b><br>In ${minute(opened)} at ${entry.toLocaleString("en-US")}<br>` +
        `${isOpen ? "Still open" : "Out"} ${minute(closed)} at ${exit.toLocaleString("en-US")}<br>Held ${span(closed - opened)} · fees ${money(fees)}<br>Worst ${money(mae, true)} · best ${money(mfe, true)} on the way`;
      const entryMark = mark(side, long ? "Buy" : "Sell short", long ? "triangle-up" : "triangle-down", palette.main);
      entryMark.x.push(opened); entryMark.y.push(entry); entryMark.text.push(text);
      const exitMark = isOpen ? mark("open", "Open at the end", "diamond", palette.other) : won ? mark("won", "Closed with profit", "circle", palette.gain) : mark("lost", "Closed with loss", "x", palette.loss);
      exitMark.x.push(closed); exitMark.y.push(exit); exitMark.text.push(text);
    }
    const join = (line, colour, dash) => ({ type: "scatter", mode: "lines", x: line.x, y: line.y, line: { color: colour, width: 1.3, dash }, hoverinfo: "skip", showlegend: false });
    const order = ["buy", "sell", "won", "lost", "open"].filter((key) => key in marks).map((key) => marks[key]);
    return [join(groups.won, palette.gain, "solid"), join(groups.lost, palette.loss, "dot"), ...order];
  }

  function drawPrice(index) {
    const price = data.prices[index], id = "price-" + index, box = byId(id);
    const whole = [price.t[0], price.t[price.t.length - 1]];
    const shown = box.shown || whole, from = shown[0], to = shown[1];
    const inSight = data.trades.filter((trade) => trade[0] === price.symbol && trade[3] >= from && trade[3] <= to).length;
    // Hundreds of markers hide the price: the more are in sight, the smaller; beyond that only the exits.
    const crowded = inSight > 250, size = crowded ? 4 : inSight > 100 ? 6 : 10;
    const trades = tradeTraces(price.symbol).filter((trace) => !crowded || (trace.marker && trace.marker.symbol !== "triangle-up" && trace.marker.symbol !== "triangle-down"));
    for (const trace of trades) if (trace.marker) Object.assign(trace.marker, { size, line: { color: palette.paper, width: crowded ? 0 : 1 } });
    const hint = document.querySelector(`[data-hint="${id}"]`);
    if (hint) hint.textContent = box.shown ? "Double-click to see the whole period again." : (crowded ? "Exits only, for there are many. " : "") + (touch ? "" : crowded ? "Drag over a stretch to see entries, exits and candlesticks." : "Drag over a stretch to enlarge it.");
    let low = Infinity, high = -Infinity;
    price.t.forEach((at, row) => { if (at >= from && at <= to) { low = Math.min(low, price.l[row]); high = Math.max(high, price.h[row]); } });
    const room = (high - low) * 0.04 || 1;
    draw(id, [...priceTraces(price, from, to, box.clientWidth), ...trades], {
      showlegend: true, legend, hovermode: "closest", margin: { l: 8, r: 8, t: 30, b: 8 },
      xaxis: time({ range: shown, rangeslider: { visible: false } }),
      yaxis: axis({ tickformat: ",~r", range: low <= high ? [low - room, high + room] : undefined, title: { text: "Price, " + data.quote, standoff: 8 } }),
    });
    const reset = document.querySelector(`[data-reset="${id}"]`);
    if (reset) reset.hidden = !box.shown;
  }

  // A zoom in one chart of time is a zoom in all of them.
  function zoomTo(range) {
    if (syncing) return;
    syncing = true;
    for (const id of ["capital", ...data.prices.map((_, index) => "price-" + index)]) byId(id).shown = range;
    drawCapital();
    data.prices.forEach((_, index) => drawPrice(index));
    syncing = false;
  }
  function followZoom(id) {
    byId(id).on("plotly_relayout", (change) => {
      if (syncing) return;
      const ms = (value) => (typeof value === "number" ? value : Date.parse(String(value).replace(" ", "T") + (String(value).length > 10 ? "Z" : "")));
      if ("xaxis.range[0]" in change) zoomTo([ms(change["xaxis.range[0]"]), ms(change["xaxis.range[1]"])]);
      else if (change["xaxis.autorange"] || "xaxis.range" in change) zoomTo(undefined);
    });
    byId(id).on("plotly_doubleclick", () => { zoomTo(undefined); return false; });
  }

  function drawHistogram(id, bins, unit) {
    if (!bins) return;
    const x = bins.counts.map((_, bin) => bins.start + (bin + 0.5) * bins.width);
    const few = Math.max(...bins.counts) <= 5 ? { dtick: 1 } : {};
    const text = x.map((middle, bin) => `${percent(middle - bins.width / 2)} to ${percent(middle + bins.width / 2)}<br>${bins.counts[bin].toLocaleString("en-US")} ${unit}`);
    draw(id, [{ type: "bar", x, y: bins.counts, text, textposition: "none", hovertemplate: "%{text}<extra></extra>", width: bins.width * 0.92, marker: { color: x.map((middle) => (middle < 0 ? palette.loss : palette.gain)) } }], {
      xaxis: axis({ ticksuffix: "%", zeroline: true, zerolinecolor: palette.soft, showgrid: false }), yaxis: axis({ title: { text: "Number of " + unit, standoff: 8 }, tickformat: ",d", ...few }),
    });
  }

  function drawRolling() {
    if (!data.rolling) return;
    const line = (id, y, suffix, zero) => draw(id, [{ type: "scatter", mode: "lines", x: data.rolling.t, y, line: { color: palette.gain, width: 1.6 }, hovertemplate: "%{x|%Y-%m-%d}: %{y:.2f}" + suffix + "<extra></extra>" }], {
      xaxis: time({ hoverformat: "%Y-%m-%d", fixedrange: true }), yaxis: axis({ ticksuffix: suffix, rangemode: "tozero", zeroline: zero, zerolinecolor: palette.soft }),
    });
    line("sharpe", data.rolling.sharpe, "", true);
    line("volatility", data.rolling.volatility, "%", false);
  }

  function drawHolding() {
    const closed = data.trades.filter((trade) => !trade[10]);
    if (!closed.length) return;
    const hours = closed.map((trade) => Math.max((trade[4] - trade[3]) / 3600000, 1 / 3600));
    const wide = Math.max(...hours) / Math.min(...hours) > 60, long = Math.max(...hours) > 72;
    const traces = [["Profit", true, "circle", palette.gain], ["Loss", false, "x", palette.loss]].map(([name, won, symbol, colour]) => {
      const rows = closed.map((_, row) => row).filter((row) => closed[row][7] > 0 === won);
      const text = rows.map((row) => `${span(closed[row][4] - closed[row][3])}: ${percent(closed[row][9])}<br>${money(closed[row][7], true)}<br>${minute(closed[row][3])}`);
      return { type: "scatter", mode: "markers", name, x: rows.map((row) => hours[row] / (long ? 24 : 1)), y: rows.map((row) => closed[row][9]), text, hovertemplate: "%{text}<extra></extra>", marker: { symbol, color: colour, size: 6, opacity: 0.75 } };
    });
    draw("holding", traces, {
      showlegend: true, legend, hovermode: "closest", margin: { l: 8, r: 8, t: 30, b: 8 },
      xaxis: axis({ type: wide ? "log" : "linear", title: { text: "Held, " + (long ? "days" : "hours"), standoff: 6 }, showgrid: false, zeroline: false, rangemode: "tozero", dtick: wide ? 1 : undefined, tickformat: "~r" }),
      yaxis: axis({ ticksuffix: "%", zeroline: true, zerolinecolor: palette.soft }),
    });
  }

  function drawExposure() {
    const shares = data.exposure;
    if (!shares) return;
    const each = shares.days === 1 ? "%{x|%Y-%m-%d}" : "%{x|%Y-%m-%d}, " + shares.days + " days";
    const bars = (name, y, colour, pattern) => ({ type: "bar", name, x: shares.t, y, offset: 0, width: shares.days * 86400000 * 0.92, marker: { color: colour, pattern: { shape: pattern, fillmode: "overlay", fgcolor: palette.paper, fgopacity: 0.6, size: 5, solidity: 0.25 } }, hovertemplate: each + ": %{y:.0f}% " + name.toLowerCase() + "<extra></extra>" });
    const traces = [["Long", shares.long, palette.gain, ""], ["Short", shares.short, palette.loss, "/"]].filter(([, y]) => y.some((share) => share > 0));
    draw("exposure", traces.map((parts) => bars(...parts)), {
      barmode: "relative", showlegend: true, legend, margin: { l: 8, r: 8, t: 30, b: 8 },
      xaxis: time({ fixedrange: true }), yaxis: axis({ ticksuffix: "%", range: [0, 102], title: { text: "Share of the time", standoff: 8 } }),
    });
  }

  function drawAll() {
    readPalette();
    drawCapital();
    data.prices.forEach((_, index) => drawPrice(index));
    drawHistogram("returns", data.returns, data.period);
    drawHistogram("trips", data.trips, "trades");
    drawRolling();
    drawHolding();
    drawExposure();
  }

  function listen() {
    const logarithmic = data.equity.y.every((value) => value > 0) && (!data.benchmark || data.benchmark.y.every((value) => value > 0));
    for (const button of document.querySelectorAll("[data-scale]")) {
      button.disabled = button.dataset.scale === "log" && !logarithmic;
      button.addEventListener("click", () => {
        scale = button.dataset.scale;
        for (const each of document.querySelectorAll("[data-scale]")) each.setAttribute("aria-pressed", String(each === button));
        drawCapital();
      });
    }
    for (const button of document.querySelectorAll("[data-reset]")) button.addEventListener("click", () => zoomTo(undefined));
    for (const id of ["capital", ...data.prices.map((_, index) => "price-" + index)]) followZoom(id);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    const forPrint = (on) => {
      printing = on;
      drawAll();
      for (const chart of document.querySelectorAll(".chart")) {
        const width = Math.min(chart.clientWidth, chart.classList.contains("low") ? 325 : 670);
        if (chart.layout) Plotly.relayout(chart, on ? { width, height: chart.classList.contains("low") ? 190 : chart.classList.contains("tall") ? 340 : 300 } : { width: null, height: null, autosize: true });
      }
    };
    addEventListener("beforeprint", () => forPrint(true));
    addEventListener("afterprint", () => forPrint(false));
  }

  async function start() {
    if (typeof DecompressionStream === "undefined") {
      byId("no-charts").hidden = false;
      return;
    }
    const [library, numbers] = await Promise.all([inflate("plotly"), inflate("data")]);
    const element = document.createElement("script");
    element.textContent = library;
    document.head.append(element);
    data = JSON.parse(numbers);
    drawAll();
    listen();
    document.documentElement.dataset.drawn = "yes";
  }
  start();
})();
