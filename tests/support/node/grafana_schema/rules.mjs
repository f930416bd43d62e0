// Validates the PrometheusRule in the JSON file that is named, by the operator's own schema.
import { readFileSync } from 'node:fs';
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';

new PrometheusRule(JSON.parse(readFileSync(process.argv[2], 'utf-8'))).validate();
