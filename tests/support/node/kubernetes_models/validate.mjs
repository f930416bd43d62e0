// Validates the objects in the JSON file that is named, by the schemas of their own projects.
import { readFileSync } from 'node:fs';
import * as certManager from '@kubernetes-models/cert-manager/cert-manager.io/v1';
import * as keda from '@kubernetes-models/keda/keda.sh/v1alpha1';
import * as operator from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';

const kinds = { ...certManager, ...keda, ...operator };
for (const object of JSON.parse(readFileSync(process.argv[2], 'utf-8'))) {
  try {
    new kinds[object.kind](object).validate();
  } catch (error) {
    console.error(`${object.kind} ${object.metadata.name}: ${error.message}`);
    process.exitCode = 1;
  }
}
