{{/* Names and labels. Every name that is made here is a valid name of a Service: at most 63 characters, lower case,
no dot, and a letter first. Release names may break each of these. */}}

{{- define "sidelight.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" | trimSuffix "." | trimSuffix "_" -}}
{{- end -}}

{{/* 40 characters leave room for the longest suffix, and for what a StatefulSet adds to its pods' labels. */}}
{{- define "sidelight.fullname" -}}
{{- $name := lower (include "sidelight.name" .) -}}
{{- $whole := .Values.fullnameOverride -}}
{{- if not $whole -}}
{{- $whole = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- end -}}
{{- $plain := regexReplaceAll "[^a-z0-9-]" (lower $whole) "-" -}}
{{- $begun := ternary $plain (printf "s%s" $plain) (regexMatch "^[a-z]" $plain) -}}
{{- regexReplaceAll "-+$" (trunc 40 $begun) "" -}}
{{- end -}}

{{- define "sidelight.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* Takes the root and a component. */}}
{{- define "sidelight.selector" -}}
app.kubernetes.io/name: {{ include "sidelight.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Takes the root, a component, and labels that come on top. No user's label replaces one that selects pods. */}}
{{- define "sidelight.labels" -}}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $own := dict "helm.sh/chart" $chart "app.kubernetes.io/version" .root.Chart.AppVersion "app.kubernetes.io/managed-by" .root.Release.Service "app.kubernetes.io/part-of" "sidelight" -}}
{{- $selector := include "sidelight.selector" . | fromYaml -}}
{{- toYaml (mergeOverwrite (dict) $own (default (dict) .root.Values.commonLabels) (default (dict) .labels) $selector) -}}
{{- end -}}

{{/* The metadata of an object. Takes the root, a component, a name; and, if need be, labels, annotations and
cluster: true for objects without a namespace. */}}
{{- define "sidelight.metadata" -}}
name: {{ .name | quote }}
{{- if not .cluster }}
namespace: {{ default (include "sidelight.namespace" .root) .namespace | quote }}
{{- end }}
labels:
  {{- include "sidelight.labels" . | nindent 2 }}
{{- with mergeOverwrite (dict) (default (dict) .root.Values.commonAnnotations) (default (dict) .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Takes the root and the values of one image. */}}
{{- define "sidelight.image" -}}
{{- $registry := .root.Values.images.registry | trimSuffix "/" -}}
{{- $place := ternary .image.repository (printf "%s/%s" $registry .image.repository) (empty $registry) -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $place .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $place (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Takes the root, the values of a service account and the name that it has by default. */}}
{{- define "sidelight.serviceAccountName" -}}
{{- if .account.create -}}
{{- default .name .account.name -}}
{{- else -}}
{{- default "default" .account.name -}}
{{- end -}}
{{- end -}}

{{/* A pod's security context. OpenShift refuses user and group ids that are not of the namespace's range. Takes the
root and the context. */}}
{{- define "sidelight.podSecurityContext" -}}
{{- $served := .root.Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- $openshift := or (eq .root.Values.platform "openshift") (and (eq .root.Values.platform "auto") $served) -}}
{{- $context := default (dict) .context -}}
{{- toYaml (ternary (omit $context "runAsUser" "runAsGroup" "fsGroup" "supplementalGroups") $context $openshift) -}}
{{- end -}}

{{/* "true" if objects of Prometheus Operator are wanted. */}}
{{- define "sidelight.hasOperator" -}}
{{- $mode := .Values.monitoring.mode -}}
{{- if or (eq $mode "always") (and (eq $mode "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
true
{{- end -}}
{{- end -}}

{{/* A quantity such as 10Gi in bytes. */}}
{{- define "sidelight.bytes" -}}
{{- div (include "sidelight.thousandths" .) 1000 -}}
{{- end -}}

{{/* A quantity such as 200m or 10Gi, in thousandths. */}}
{{- define "sidelight.thousandths" -}}
{{- $text := toString . -}}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 "" 1 "m" 0.001 -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- $number := trimSuffix $unit $text -}}
{{- if or (not (hasKey $units $unit)) (not (regexMatch "^[0-9]+(\\.[0-9]+)?$" $number)) -}}
{{- fail (printf "%s is not a quantity; write it like 10Gi" $text) -}}
{{- end -}}
{{- round (mulf (float64 $number) (get $units $unit) 1000) 0 | int64 -}}
{{- end -}}
