{{/* sidelight.yaml of the gateway, and the files that its references name. */}}

{{/* Takes a value, the key it stands at, and `sources`, a dict that collects what is to be mounted. Returns
{"value": …} as JSON, with each reference replaced by the file that holds it. */}}
{{- define "sidelight.resolved" -}}
{{- $sources := .sources -}}
{{- $value := .value -}}
{{- if kindIs "map" .value -}}
  {{- $rest := omit .value "existingSecret" "existingConfigMap" "key" -}}
  {{- $kind := ternary "secret" (ternary "configMap" "" (hasKey .value "existingConfigMap")) (hasKey .value "existingSecret") -}}
  {{- if $kind -}}
    {{- $name := default .value.existingSecret .value.existingConfigMap -}}
    {{- $_ := set $sources (printf "%s %s %s" $kind $name .value.key) (dict "kind" $kind "name" $name "key" .value.key) -}}
    {{- $file := printf "%s/%s/%s/%s" (include "sidelight.referencesFolder" .) $kind $name .value.key -}}
    {{- /* Where sidelight.yaml takes a path, it takes no mapping. */ -}}
    {{- $value = ternary $file (merge (dict "file" $file) $rest) (has .at (list "ca" "certificate" "key" "client_ca" "prices")) -}}
  {{- else -}}
    {{- $value = dict -}}
    {{- range $key, $inner := .value -}}
      {{- $_ := set $value $key (get (include "sidelight.resolved" (dict "value" $inner "at" $key "sources" $sources) | fromJson) "value") -}}
    {{- end -}}
  {{- end -}}
{{- else if kindIs "slice" .value -}}
  {{- $value = list -}}
  {{- range $inner := .value -}}
    {{- $value = append $value (get (include "sidelight.resolved" (dict "value" $inner "at" "" "sources" $sources) | fromJson) "value") -}}
  {{- end -}}
{{- end -}}
{{- dict "value" $value | toJson -}}
{{- end -}}

{{- define "sidelight.referencesFolder" -}}/etc/sidelight/references{{- end -}}
{{- define "sidelight.logFolder" -}}/var/lib/sidelight{{- end -}}

{{/* A mapping as JSON, without keys that are null: those have their defaults. */}}
{{- define "sidelight.withoutNulls" -}}
{{- $kept := dict -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $kept $key (include "sidelight.withoutNulls" $value | fromJson) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $kept $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $kept -}}
{{- end -}}

{{/* What the chart sets unless gateway.config says otherwise, gateway.config, and what only the chart may set. */}}
{{- define "sidelight.gateway.merged" -}}
{{- $gateway := .Values.gateway -}}
{{- $size := include "sidelight.bytes" $gateway.persistence.size | int64 -}}
{{- $maxBytes := div (mul $size 8) 10 -}}
{{- if lt $maxBytes 1048576 -}}
{{- fail (printf "gateway.persistence.size is %s; the log needs 2Mi at least" (toString $gateway.persistence.size)) -}}
{{- end -}}
{{- $tls := dict -}}
{{- if $gateway.tls.existingSecret -}}
{{- $secret := $gateway.tls.existingSecret -}}
{{- $tls = dict "certificate" (dict "existingSecret" $secret "key" "tls.crt") "key" (dict "existingSecret" $secret "key" "tls.key") -}}
{{- if $gateway.tls.clientAuthorities -}}
{{- $_ := set $tls "client_ca" (dict "existingSecret" $secret "key" "ca.crt") -}}
{{- end -}}
{{- end -}}
{{- $receivers := dict "otlp_http" (dict "port" 4318) "otlp_grpc" (dict "port" 4317) -}}
{{- if $tls -}}
{{- $receivers = dict "otlp_http" (dict "port" 4318 "tls" $tls) "otlp_grpc" (dict "port" 4317 "tls" $tls) -}}
{{- end -}}
{{- /* A segment that is written comes on top of max_bytes, so it must be small beside the volume. */ -}}
{{- $segment := min 67108864 (max 65536 (div $maxBytes 16)) -}}
{{- $log := dict "max_bytes" $maxBytes "segment_bytes" $segment "keep_bytes" (min 268435456 (div $maxBytes 8)) -}}
{{- $defaults := dict "destinations" list "receivers" $receivers "serve" (dict "port" 9464) "log" $log -}}
{{- $listen := dict "host" .Values.listen -}}
{{- $fixed := dict "receivers" (dict "otlp_http" $listen "otlp_grpc" (deepCopy $listen)) "serve" (deepCopy $listen) "log" (dict "directory" (printf "%s/log" (include "sidelight.logFolder" .))) "dashboards" (dict "directory" "") -}}
{{- $merged := mergeOverwrite (dict) $defaults (include "sidelight.withoutNulls" $gateway.config | fromJson) $fixed -}}
{{- if dig "zipkin" "enabled" false $merged.receivers -}}
{{- $_ := set $merged.receivers "zipkin" (mergeOverwrite (dict "port" 9411) $merged.receivers.zipkin (deepCopy $listen)) -}}
{{- end -}}
{{- toJson $merged -}}
{{- end -}}

{{- define "sidelight.gateway.yaml" -}}
{{- $resolved := include "sidelight.resolved" (dict "value" (include "sidelight.gateway.merged" . | fromJson) "at" "" "sources" (dict)) | fromJson -}}
{{- toYaml $resolved.value -}}
{{- end -}}

{{/* The volume with all that the configuration refers to; empty if that is nothing. */}}
{{- define "sidelight.gateway.references" -}}
{{- $sources := dict -}}
{{- $_ := include "sidelight.resolved" (dict "value" (include "sidelight.gateway.merged" . | fromJson) "at" "" "sources" $sources) -}}
{{- if $sources -}}
name: references
projected:
  # Readable by every user id, as OpenShift chooses one; only this pod's containers see the files.
  defaultMode: 0444
  sources:
    {{- range $id := keys $sources | sortAlpha }}
    {{- $source := get $sources $id }}
    - {{ $source.kind }}:
        name: {{ $source.name | quote }}
        items: [{key: {{ $source.key | quote }}, path: {{ printf "%s/%s/%s" $source.kind $source.name $source.key | quote }}}]
    {{- end }}
{{- end -}}
{{- end -}}

{{/* The ports of the gateway by name, as its configuration has them. */}}
{{- define "sidelight.gateway.ports" -}}
{{- $merged := include "sidelight.gateway.merged" . | fromJson -}}
{{- $ports := dict -}}
{{- range $name, $receiver := dict "otlp-http" "otlp_http" "otlp-grpc" "otlp_grpc" -}}
{{- if dig $receiver "enabled" true $merged.receivers -}}
{{- $_ := set $ports $name (get $merged.receivers $receiver).port -}}
{{- end -}}
{{- end -}}
{{- if dig "zipkin" "enabled" false $merged.receivers -}}
{{- $_ := set $ports "zipkin" $merged.receivers.zipkin.port -}}
{{- end -}}
{{- $_ := set $ports "metrics" $merged.serve.port -}}
{{- toJson $ports -}}
{{- end -}}

{{/* Faults that no schema finds. */}}
{{- define "sidelight.gateway.check" -}}
{{- $gateway := .Values.gateway -}}
{{- $kind := $gateway.autoscaling.kind -}}
{{- $most := ternary $gateway.replicas $gateway.autoscaling.maxReplicas (eq $kind "none") -}}
{{- if gt (int $most) 1 -}}
{{- range $gateway.config.destinations -}}
{{- if .sample -}}
{{- fail (printf "gateway.config.destinations: %s has `sample`, and the gateway up to %d pods, each of which sees only parts of a trace; set gateway.replicas to 1 and gateway.autoscaling.kind to none, or remove `sample`" (default .type .name) (int $most)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (ne $kind "none") (gt (int $gateway.autoscaling.minReplicas) (int $gateway.autoscaling.maxReplicas)) -}}
{{- fail "gateway.autoscaling: minReplicas is larger than maxReplicas; correct one of them" -}}
{{- end -}}
{{- $log := (include "sidelight.gateway.merged" . | fromJson).log -}}
{{- $size := include "sidelight.bytes" $gateway.persistence.size | int64 -}}
{{- if gt (add (int64 $log.max_bytes) (int64 $log.segment_bytes)) $size -}}
{{- fail (printf "gateway.config.log.max_bytes is %d, and with the segment that is written more than the %s of gateway.persistence.size; lower the one or raise the other" (int64 $log.max_bytes) $gateway.persistence.size) -}}
{{- end -}}
{{- $ports := dict -}}
{{- range $name, $port := include "sidelight.gateway.ports" . | fromJson -}}
{{- if or (lt (int $port) 1024) (hasKey $ports (toString $port)) -}}
{{- fail (printf "gateway.config: port %d of %s is below 1024 or used twice; set another" (int $port) $name) -}}
{{- end -}}
{{- $_ := set $ports (toString $port) $name -}}
{{- end -}}
{{- end -}}

{{/* Where sidecars send to: the gateway's Service. */}}
{{- define "sidelight.gateway.url" -}}
{{- $merged := include "sidelight.gateway.merged" . | fromJson -}}
{{- $scheme := ternary "http" "https" (empty (dig "tls" "" $merged.receivers.otlp_http)) -}}
{{- $domain := ternary (printf ".%s" .Values.clusterDomain) "" (not (empty .Values.clusterDomain)) -}}
{{- printf "%s://%s-gateway.%s.svc%s:%d" $scheme (include "sidelight.fullname" .) (include "sidelight.namespace" .) $domain (int $merged.receivers.otlp_http.port) -}}
{{- end -}}

{{/* What senders must bring; empty if nothing. */}}
{{- define "sidelight.gateway.isGuarded" -}}
{{- $config := include "sidelight.gateway.merged" . | fromJson -}}
{{- if or (dig "auth" "tokens" "" $config) (dig "receivers" "langfuse_api" "keys" "" $config) -}}
tokens
{{- else if $config | dig "receivers" "otlp_http" "tls" "client_ca" "" -}}
client certificates
{{- end -}}
{{- end -}}
