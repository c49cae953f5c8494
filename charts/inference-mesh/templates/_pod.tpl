{{/* What every container of the chart may do: nothing but run. */}}
{{- define "mesh.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "mesh.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Where pods of a component may run. Takes a component. */}}
{{- define "mesh.scheduling" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := .values.tolerations }}
{{- if .values.gpu.enabled }}
{{- $tolerations = append $tolerations (dict "key" .values.gpu.resource "operator" "Exists" "effect" "NoSchedule") }}
{{- end }}
{{- /* Kubernetes waits 300 seconds before it starts a pod of a lost node elsewhere. */}}
{{- range list "node.kubernetes.io/not-ready" "node.kubernetes.io/unreachable" }}
{{- $tolerations = append $tolerations (dict "key" . "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" $.values.nodeLossSeconds) }}
{{- end }}
tolerations:
  {{- toYaml $tolerations | nindent 2 }}
{{- if .values.topologySpread }}
topologySpreadConstraints:
  {{- range .values.topologySpread }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels:
        {{- include "mesh.selector" $ | nindent 8 }}
    {{- /* The pods of one rollout are spread, whatever the old ones do. */}}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{/* The three probes of a component: kubelet speaks no TLS over gRPC, so those of a service go to a plaintext port
that serves health alone. Takes a component. */}}
{{- define "mesh.probes" -}}
{{- $gateway := .gateway }}
{{- $health := .values.ports.health }}
{{- $scheme := ternary "HTTPS" "HTTP" .root.Values.tls.door.enabled }}
{{- range $kind, $probe := .values.probes }}
{{ $kind }}Probe:
  {{- if $gateway }}
  httpGet:
    path: {{ ternary "/ready" "/health" (eq $kind "readiness") }}
    port: http
    scheme: {{ $scheme }}
  {{- else }}
  grpc:
    port: {{ $health | int64 }}
  {{- end }}
  {{- toYaml $probe | nindent 2 }}
{{- end }}
{{- end }}

{{- define "mesh.resources" -}}
{{- $resources := deepCopy .values.resources }}
{{- if .values.gpu.enabled }}
{{- $_ := set $resources "limits" (merge (dict .values.gpu.resource .values.gpu.count) ($resources.limits | default dict)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{- define "mesh.componentImage" -}}
{{- $image := merge (deepCopy .values.image) (omit .root.Values.image "tag") }}
{{- include "mesh.image" (dict "image" $image "tag" (.root.Values.image.tag | default .root.Chart.AppVersion) "suffix" (ternary .values.gpu.imageTagSuffix "" .values.gpu.enabled)) }}
{{- end }}

{{- define "mesh.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .values.tmpSize }}}
{{- with .values.shmSize }}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ . }}}
{{- end }}
{{- if .root.Values.tls.internal.enabled }}
- name: internal-tls
  secret: {secretName: {{ include "mesh.internalTlsSecret" . }}, defaultMode: 0440}
{{- end }}
{{- if .gateway }}
- name: hashing-key
  secret: {secretName: {{ include "mesh.hashingKeySecret" .root }}, defaultMode: 0440}
{{- if .root.Values.tls.door.enabled }}
- name: door-tls
  secret:
    secretName: {{ include "mesh.doorTlsSecret" .root }}
    defaultMode: 0440
    {{- /* Who only has to trust it needs no key. */}}
    {{- if .trustOnly }}
    items: [{key: tls.crt, path: tls.crt}]
    {{- end }}
{{- end }}
{{- end }}
{{- if or .gateway .values.metered }}
{{- range $name, $server := include "mesh.redisCas" .root | fromYaml }}
- name: {{ $name }}
  secret: {secretName: {{ $server }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- range $name, $_ := include "mesh.files" . | fromYaml }}
- name: {{ $name }}
  configMap: {name: {{ include "mesh.fullname" $.root }}-{{ $name }}}
{{- end }}
{{- include "mesh.modelVolumes" . }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "mesh.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .values.shmSize }}
- {name: shm, mountPath: /dev/shm}
{{- end }}
{{- if .root.Values.tls.internal.enabled }}
- {name: internal-tls, mountPath: /etc/mesh/tls/internal, readOnly: true}
{{- end }}
{{- if .gateway }}
- {name: hashing-key, mountPath: /etc/mesh/hashing-key, readOnly: true}
{{- if .root.Values.tls.door.enabled }}
- {name: door-tls, mountPath: /etc/mesh/tls/door, readOnly: true}
{{- end }}
{{- end }}
{{- if or .gateway .values.metered }}
{{- range $name, $server := include "mesh.redisCas" .root | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/mesh/{{ $name }}, readOnly: true}
{{- end }}
{{- end }}
{{- range $name, $_ := include "mesh.files" . | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/mesh/{{ $name }}, readOnly: true}
{{- end }}
{{- with include "mesh.modelSource" . }}
- {name: models, mountPath: /models, readOnly: {{ ne . "hub" }}}
{{- end }}
{{- with .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The Secrets with the authorities that sign the certificates of external Redises, by the volume they become. */}}
{{- define "mesh.redisCas" -}}
{{- if not .Values.redis.bundled }}
{{- with .Values.redis.external.tls.caSecret }}
redis-ca: {{ . }}
{{- end }}
{{- end }}
{{- with .Values.limitsRedis.tls.caSecret }}
limits-redis-ca: {{ . }}
{{- end }}
{{- end }}
