// Runs a panel's queries on Prometheus and makes Grafana's data frames of the answers.
import { FieldType, getDisplayProcessor, toDataFrame } from '@grafana/data';

const DRAWING = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 8,
  axisPlacement: 'auto',
  scaleDistribution: { type: 'linear' },
  hideFrom: { viz: false, legend: false, tooltip: false },
  spanNulls: false,
  showPoints: 'never',
};

function filled(expression, step, seconds, chosen) {
  const own = { __rate_interval: `${4 * step}s`, __interval: `${step}s`, __range: `${seconds}s` };
  return expression.replace(/\$\{?(\w+)(:\w+)?\}?/g, (all, name) => own[name] ?? chosen[name] ?? all);
}

function named(target, labels) {
  if (target.legendFormat && target.legendFormat !== '__auto') {
    return target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
  }
  const pairs = Object.entries(labels).filter(([label]) => label !== '__name__');
  return pairs.length ? `{${pairs.map(([label, value]) => `${label}="${value}"`).join(', ')}}` : 'Value';
}

async function answered(expression, range, step) {
  const query = new URLSearchParams({
    query: expression,
    start: range.from.valueOf() / 1000,
    end: range.to.valueOf() / 1000,
    step,
  });
  const answer = await (await fetch('/api/v1/query_range', { method: 'POST', body: query })).json();
  if (answer.status !== 'success') {
    throw new Error(answer.error);
  }
  return answer.data.result;
}

function configured(field, panel) {
  const { defaults, overrides } = structuredClone(panel.fieldConfig);
  const config = { ...defaults, displayName: field.name, custom: { ...DRAWING, ...defaults.custom } };
  for (const { matcher, properties } of overrides ?? []) {
    const matches =
      matcher.id === 'byName' ? matcher.options === field.name : new RegExp(String(matcher.options).replace(/^\/|\/$/g, '')).test(field.name);
    for (const { id, value } of matches ? properties : []) {
      if (id.startsWith('custom.')) {
        config.custom[id.slice('custom.'.length)] = value;
      } else {
        config[id] = value;
      }
    }
  }
  // JSON has no -Infinity: the first threshold's value is null.
  for (const step of config.thresholds?.steps ?? []) {
    step.value ??= -Infinity;
  }
  return config;
}

// Each point of the window, so that a gap in the data is a gap on the panel.
function gridded(values, range, step) {
  const known = new Map(values.map(([at, text]) => [Math.round(at * 1000), Number(text)]));
  const times = [];
  for (let at = range.from.valueOf(); at <= range.to.valueOf(); at += step * 1000) {
    times.push(at);
  }
  return [times, times.map((at) => known.get(at) ?? null)];
}

// The series of a panel as data frames, and the error of the first query that failed.
export async function frames(panel, range, step, theme) {
  // What Grafana puts in for "All", or the default of a variable without it.
  const chosen = {};
  for (const { name, allValue, current } of (await (await fetch('/dashboard.json')).json()).templating.list) {
    const value = allValue || current?.value;
    if (value !== undefined) {
      chosen[name] = value;
    }
  }
  const list = [];
  let error;
  const seconds = (range.to.valueOf() - range.from.valueOf()) / 1000;
  for (const target of panel.targets ?? []) {
    try {
      for (const { metric, values } of await answered(filled(target.expr, step, seconds, chosen), range, step)) {
        const name = named(target, metric);
        const [times, numbers] = gridded(values, range, step);
        list.push(
          toDataFrame({
            refId: target.refId,
            name,
            fields: [
              { name: 'Time', type: FieldType.time, values: times },
              { name, type: FieldType.number, values: numbers, labels: metric },
            ],
          })
        );
      }
    } catch (failure) {
      error ??= failure.message;
    }
  }
  list.forEach((frame, index) => {
    const [time, field] = frame.fields;
    field.config = configured(field, panel);
    const finite = field.values.filter(Number.isFinite);
    const [min, max] = [Math.min(...finite), Math.max(...finite)];
    field.state = { seriesIndex: index, displayName: field.name, range: { min, max, delta: max - min } };
    for (const one of [time, field]) {
      one.display = getDisplayProcessor({ field: one, theme, timeZone: 'utc' });
    }
  });
  return { list, error };
}
