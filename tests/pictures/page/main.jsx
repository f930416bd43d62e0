// Draws one dashboard of /dashboard.json from the Prometheus behind /api, as Grafana shows it.
//
// The query string gives the theme (dark or light), the window (start and end, Unix seconds) and
// the step of the range queries in seconds.
import { createRoot } from 'react-dom/client';
import { createTheme, dateTime, ThemeContext } from '@grafana/data';
import { GlobalStyles, PanelChrome } from '@grafana/ui';

import { frames } from './frames.js';
import { Panel } from './panel.jsx';

// Grafana's grid: 24 columns, rows of 30 pixels, gaps of 8.
const WIDTH = 1600;
const GAP = 8;
const ROW = 30;
const COLUMN = (WIDTH - 2 * GAP + GAP) / 24;
const HEAD = 52;

function place({ x, y, w, h }) {
  return {
    left: GAP + x * COLUMN,
    top: HEAD + y * (ROW + GAP),
    width: Math.floor(w * COLUMN - GAP),
    height: h * ROW + (h - 1) * GAP,
  };
}

function Item({ panel, series, range, theme }) {
  const { left, top, width, height } = place(panel.gridPos);
  const chrome = (
    <PanelChrome title={panel.title} description={panel.description} width={width} height={height} padding="sm">
      {(innerWidth, innerHeight) => (
        <Panel panel={panel} series={series} range={range} theme={theme} width={innerWidth} height={innerHeight} />
      )}
    </PanelChrome>
  );
  return (
    <div style={{ position: 'absolute', left, top }}>
      {panel.type === 'row' ? <div style={{ fontWeight: 500, padding: '6px 8px', width }}>▾ {panel.title}</div> : chrome}
    </div>
  );
}

async function main() {
  const given = new URLSearchParams(location.search);
  const theme = createTheme({ colors: { mode: given.get('theme') } });
  const [from, to] = ['start', 'end'].map((name) => dateTime(1000 * given.get(name)));
  const range = { from, to, raw: { from, to } };
  const dashboard = await (await fetch('/dashboard.json')).json();
  const items = [];
  for (const panel of dashboard.panels) {
    items.push([panel, panel.type === 'row' ? {} : await frames(panel, range, Number(given.get('step')), theme)]);
  }
  const rows = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const { background, text } = theme.colors;
  Object.assign(document.body.style, { background: background.canvas, margin: 0, fontFamily: theme.typography.fontFamily });
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: 'relative', width: WIDTH, height: HEAD + GAP + rows * (ROW + GAP), color: text.primary }}>
        <h2 style={{ padding: '12px 16px', margin: 0 }}>{dashboard.title}</h2>
        {items.map(([panel, series]) => (
          <Item key={panel.id ?? panel.title} panel={panel} series={series} range={range} theme={theme} />
        ))}
      </div>
    </ThemeContext.Provider>
  );
  window.panels = items
    .filter(([panel]) => panel.type !== 'row')
    .map(([panel, { list, error }]) => ({ title: panel.title, series: list.length, error }));
  // uPlot draws once the sizes are known, some frames later.
  setTimeout(() => (window.drawn = true), 2500);
}

main().catch((error) => {
  window.failed = error.stack;
});
