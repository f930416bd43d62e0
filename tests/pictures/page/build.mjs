// Bundles the page with the packages of the folder it runs in.
import { build } from 'esbuild';

await build({
  entryPoints: ['main.jsx'],
  bundle: true,
  outfile: 'dist/main.js',
  format: 'esm',
  minify: true,
  jsx: 'automatic',
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'window' },
  loader: { '.svg': 'dataurl', '.woff2': 'dataurl', '.ttf': 'dataurl', '.png': 'dataurl' },
  logLevel: 'warning',
  logLimit: 12,
});
