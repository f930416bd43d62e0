{{/* What is injected, and how. */}}

{{/* policy, webhook or none. */}}
{{- define "sidelight.injection.mode" -}}
{{- $mode := .Values.injection.mode -}}
{{- if eq $mode "auto" -}}
{{- ternary "policy" "webhook" (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") -}}
{{- else -}}
{{- $mode -}}
{{- end -}}
{{- end -}}

{{- define "sidelight.injection.volume" -}}
{{- $version := .Capabilities.KubeVersion.Version -}}
{{- $volume := .Values.injection.volume -}}
{{- /* Older API servers drop the field, and then refuse the volume, and the pod with it. */ -}}
{{- if and (eq $volume "image") (semverCompare "<1.33-0" $version) -}}
{{- fail (printf "injection.volume is image, which Kubernetes %s does not know; set injection.volume to copy" $version) -}}
{{- end -}}
{{- ternary (ternary "image" "copy" (semverCompare ">=1.36-0" $version)) $volume (eq $volume "auto") -}}
{{- end -}}

{{/* Where sidecars send to. */}}
{{- define "sidelight.injection.endpoint" -}}
{{- if .Values.injection.endpoint -}}
{{- .Values.injection.endpoint -}}
{{- else if not .Values.gateway.enabled -}}
{{- fail "gateway.enabled is false, so the sidecars have no collector; set injection.endpoint, or injection.mode to none" -}}
{{- else if not (hasKey (include "sidelight.gateway.ports" . | fromJson) "otlp-http") -}}
{{- fail "the sidecars send OTLP over HTTP, which gateway.config switches off; enable receivers.otlp_http, or set injection.endpoint" -}}
{{- else -}}
{{- include "sidelight.gateway.url" . -}}
{{- end -}}
{{- end -}}

{{/* A pod with resources that are not valid is refused, whatever the failure policy says. */}}
{{- define "sidelight.injection.checkResources" -}}
{{- $limits := default (dict) .limits -}}
{{- if .claims -}}
{{- fail "injection.sidecar.resources: claims name devices of a pod, which other pods do not have; remove them" -}}
{{- end -}}
{{- range $name := concat (keys $limits) (keys (default (dict) .requests)) -}}
{{- if not (has $name (list "cpu" "memory" "ephemeral-storage")) -}}
{{- fail (printf "injection.sidecar.resources: %s is not a resource that a sidecar needs; give cpu, memory and ephemeral-storage" $name) -}}
{{- end -}}
{{- end -}}
{{- if hasKey $limits "ephemeral-storage" -}}
{{- fail "injection.sidecar.resources: limits.ephemeral-storage would hold for the whole pod, and Kubernetes would evict vLLM for its own files; remove it" -}}
{{- end -}}
{{- range $name, $request := default (dict) .requests -}}
{{- if hasKey $limits $name -}}
{{- $limit := get $limits $name -}}
{{- if gt (include "sidelight.thousandths" $request | int64) (include "sidelight.thousandths" $limit | int64) -}}
{{- fail (printf "injection.sidecar.resources: requests.%s is %v, above its limit of %v; set both" $name $request $limit) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Environment variables: our own, except those that are given as well, and the given ones. A list with one name
twice breaks pods that are applied again. */}}
{{- define "sidelight.variables" -}}
{{- $names := dict -}}
{{- range .given -}}
{{- $_ := set $names .name true -}}
{{- end -}}
{{- $variables := list -}}
{{- range .own -}}
{{- if not (hasKey $names .name) -}}
{{- $variables = append $variables . -}}
{{- end -}}
{{- end -}}
{{- concat $variables (default (list) .given) | toJson -}}
{{- end -}}

{{/* Further variables of vLLM's container must not be those that injection sets by itself. */}}
{{- define "sidelight.injection.checkEnvironment" -}}
{{- range . -}}
{{- if has .name (list "PYTHONPATH" "VLLM_PLUGINS" "SIDELIGHT_PYTHON_PATH") -}}
{{- fail (printf "injection.environment: %s is set by injection itself; remove it" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The settings of sidelight.injection as JSON: the file of the package, with the values put in. */}}
{{- define "sidelight.injection.settings" -}}
{{- $injection := .Values.injection -}}
{{- $settings := .Files.Get "files/injection.yaml" | fromYaml -}}
{{- $collector := include "sidelight.image" (dict "root" . "image" .Values.images.collector) -}}
{{- $instrumentation := include "sidelight.image" (dict "root" . "image" .Values.images.instrumentation) -}}
{{- $policy := .Values.images.pullPolicy -}}
{{- $_ := set $settings "version" .Chart.AppVersion -}}
{{- $_ := set $settings "volume" (include "sidelight.injection.volume" .) -}}
{{- $_ := set $settings.volumes.image "image" (dict "reference" $instrumentation "pullPolicy" $policy) -}}
{{- $_ := set $settings "copy" (mergeOverwrite $settings.copy (dict "image" $instrumentation "imagePullPolicy" $policy)) -}}
{{- $gateway := dict "name" "gateway" "type" "otlp_http" "url" (include "sidelight.injection.endpoint" .) -}}
{{- if $injection.token.existingSecret -}}
{{- $_ := set $gateway "headers" (dict "Authorization" (dict "env" "SIDELIGHT_GATEWAY_AUTHORIZATION")) -}}
{{- /* Kubernetes puts in the first where the second names it, so the order counts. Without the Secret the pod starts,
and the gateway refuses the text as it is here. */ -}}
{{- $secret := dict "name" $injection.token.existingSecret "key" $injection.token.key "optional" true -}}
{{- $token := dict "name" "SIDELIGHT_GATEWAY_TOKEN" "valueFrom" (dict "secretKeyRef" $secret) -}}
{{- $header := dict "name" "SIDELIGHT_GATEWAY_AUTHORIZATION" "value" "Bearer $(SIDELIGHT_GATEWAY_TOKEN)" -}}
{{- $_ := set $settings.sidecar "env" (concat $settings.sidecar.env (list $token $header)) -}}
{{- end -}}
{{- $destinations := list $gateway | toJson -}}
{{- range $settings.sidecar.env -}}
{{- if eq .name "SIDELIGHT_DESTINATIONS" -}}
{{- $_ := set . "value" $destinations -}}
{{- end -}}
{{- end -}}
{{- $env := include "sidelight.variables" (dict "own" $settings.sidecar.env "given" $injection.sidecar.env) | fromJsonArray -}}
{{- $sidecar := mergeOverwrite (omit $settings.sidecar "resources") (dict "image" $collector "imagePullPolicy" $policy "env" $env) -}}
{{- with $injection.sidecar.resources -}}
{{- include "sidelight.injection.checkResources" . -}}
{{- $_ := set $sidecar "resources" . -}}
{{- end -}}
{{- $_ := set $settings "sidecar" $sidecar -}}
{{- include "sidelight.injection.checkEnvironment" $injection.environment -}}
{{- $_ := set $settings "environment" (include "sidelight.variables" (dict "own" $settings.environment "given" $injection.environment) | fromJsonArray) -}}
{{- $_ := set $settings "images_with_python_path" (default (list) $injection.imagesWithPythonPath) -}}
{{- toJson $settings -}}
{{- end -}}

{{/* A value as a literal of CEL. A map or list there has values of one type, unless they are dyn. */}}
{{- define "sidelight.cel" -}}
{{- if kindIs "map" . -}}
{{- $separator := "" -}}
{
{{- range $key, $value := . -}}
{{- $separator }}{{ toJson $key }}: dyn({{ include "sidelight.cel" $value }})
{{- $separator = ", " -}}
{{- end -}}
}
{{- else if kindIs "slice" . -}}
{{- $separator := "" -}}
[
{{- range . -}}
{{- $separator }}dyn({{ include "sidelight.cel" . }})
{{- $separator = ", " -}}
{{- end -}}
]
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{- define "sidelight.injector.name" -}}
{{- printf "%s-injector" (include "sidelight.fullname" .) -}}
{{- end -}}

{{/* The Secret with the certificate of the injector. */}}
{{- define "sidelight.injector.secret" -}}
{{- $certificates := .Values.injection.webhook.certificates -}}
{{- if eq $certificates.kind "supplied" -}}
{{- required "injection.webhook.certificates.kind is supplied; name the Secret in existingSecret" $certificates.existingSecret -}}
{{- else -}}
{{- printf "%s-tls" (include "sidelight.injector.name" .) -}}
{{- end -}}
{{- end -}}
