{{/* The specification of a gateway pod. */}}
{{- define "sidelight.gateway.pod" -}}
{{- $gateway := .Values.gateway -}}
{{- $name := printf "%s-gateway" (include "sidelight.fullname" .) -}}
{{- $merged := include "sidelight.gateway.merged" . | fromJson -}}
{{- $references := include "sidelight.gateway.references" . -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty (dig "tls" "" $merged.serve))) -}}
{{- $selector := include "sidelight.selector" (dict "root" . "component" "gateway") | fromYaml -}}
serviceAccountName: {{ include "sidelight.serviceAccountName" (dict "account" $gateway.serviceAccount "name" $name) | quote }}
# It asks the Kubernetes API nothing.
automountServiceAccountToken: false
# The variables of Services named sidelight-… look like settings.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ add (ceil $merged.shutdown_seconds) 20 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $gateway.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
securityContext:
  {{- include "sidelight.podSecurityContext" (dict "root" . "context" $gateway.podSecurityContext) | nindent 2 }}
containers:
  - name: sidelight
    image: {{ include "sidelight.image" (dict "root" . "image" .Values.images.collector) | quote }}
    imagePullPolicy: {{ .Values.images.pullPolicy }}
    args: [up, --config, /etc/sidelight/config/sidelight.yaml]
    {{- with $gateway.env }}
    env:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      {{- range $port, $number := include "sidelight.gateway.ports" . | fromJson }}
      - {name: {{ $port }}, containerPort: {{ int $number }}}
      {{- end }}
    {{- if semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version }}
    # New connections stop arriving before it stops to accept them.
    lifecycle:
      preStop:
        sleep: {seconds: 5}
    {{- end }}
    # The start reads the log, which takes seconds for gigabytes on a slow disk.
    startupProbe:
      httpGet: {path: /healthz, port: metrics, scheme: {{ $scheme }}}
      periodSeconds: 2
      timeoutSeconds: 6
      failureThreshold: 90
    # A worker may take five seconds to answer its supervisor.
    livenessProbe:
      httpGet: {path: /healthz, port: metrics, scheme: {{ $scheme }}}
      periodSeconds: 20
      timeoutSeconds: 6
    readinessProbe:
      httpGet: {path: /readyz, port: metrics, scheme: {{ $scheme }}}
      periodSeconds: 10
      timeoutSeconds: 6
    {{- with $gateway.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $gateway.securityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - {name: config, mountPath: /etc/sidelight/config, readOnly: true}
      - {name: log, mountPath: {{ include "sidelight.logFolder" . }}}
      {{- if $references }}
      - {name: references, mountPath: {{ include "sidelight.referencesFolder" . }}, readOnly: true}
      {{- end }}
      {{- with $gateway.volumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ $name | quote }}
  {{- if not $gateway.persistence.enabled }}
  - name: log
    emptyDir:
      sizeLimit: {{ $gateway.persistence.size | quote }}
  {{- end }}
  {{- with $references }}
  - {{ . | nindent 4 | trim }}
  {{- end }}
  {{- with $gateway.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $gateway.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $gateway.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $gateway.affinity }}
affinity:
  {{- toYaml $gateway.affinity | nindent 2 }}
{{- else }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- toYaml $selector | nindent 14 }}
{{- end }}
{{- with $gateway.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ mergeOverwrite (dict "labelSelector" (dict "matchLabels" $selector)) . | toYaml | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end -}}
