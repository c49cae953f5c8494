{{/* What a component reads from its ConfigMap: a YAML map of variables. Takes a component. */}}
{{- define "mesh.settings" -}}
{{- $own := printf "MESH_%s_" .variable -}}
MESH_BIND_ADDRESS: 0.0.0.0
{{- range $name, $value := .root.Values.settings }}
{{- if not (has $value (list nil "")) }}
MESH_{{ upper $name }}: {{ include "mesh.text" $value | quote }}
{{- end }}
{{- end }}
{{- if not .root.Values.settings.deployment }}
MESH_DEPLOYMENT: {{ .root.Release.Name }}
{{- end }}
{{- range $name, $value := .values.settings }}
{{- if not (has $value (list nil "")) }}
{{ $own }}{{ upper $name }}: {{ include "mesh.text" $value | quote }}
{{- end }}
{{- end }}
{{- range $name, $port := .values.ports }}
{{ $own }}{{ upper $name }}_PORT: {{ include "mesh.text" $port | quote }}
{{- end }}
{{- if .gateway }}
{{- include "mesh.gatewaySettings" . }}
{{- else if eq (include "mesh.modelSource" .) "hub" }}
HF_HOME: /models
{{- else if include "mesh.modelSource" . }}
MESH_MODELS_PATH: /models
{{ $own }}ALIAS: {{ .values.model.alias | quote }}
{{- with .values.model.version }}
{{ $own }}MODEL_VERSION: {{ . | quote }}
{{- end }}
{{- end }}
{{- if .root.Values.tls.internal.enabled }}
MESH_INTERNAL_TLS_CERTIFICATE_PATH: /etc/mesh/tls/internal/tls.crt
MESH_INTERNAL_TLS_KEY_PATH: /etc/mesh/tls/internal/tls.key
MESH_INTERNAL_TLS_CA_PATH: /etc/mesh/tls/internal/ca.crt
{{- end }}
{{- end }}

{{- define "mesh.gatewaySettings" }}
{{- $root := .root }}
{{- $drain := include "mesh.drainTimeout" . }}
{{- if and (not .values.settings.drain_timeout_s) (ne (float64 $drain) (float64 .root.Values.settings.drain_timeout_s)) }}
MESH_GATEWAY_DRAIN_TIMEOUT_S: {{ $drain | quote }}
{{- end }}
MESH_HASHING_KEY_PATH: /etc/mesh/hashing-key/{{ .root.Values.hashingKey.secretKey }}
MESH_GATEWAY_REPLICAS: {{ ternary .values.autoscaling.maxReplicas .values.replicas .values.autoscaling.enabled | int64 | max 1 | quote }}
{{- range (include "mesh.services" .root | fromJson).names }}
{{- $service := include "mesh.component" (dict "root" $root "name" .) | fromYaml }}
{{- if $service.values.behindGateway }}
{{- /* A short name is found by the first of the pod's search domains; a longer one asks them all. */}}
MESH_GATEWAY_{{ $service.variable }}_TARGET: dns:///{{ include "mesh.name" (dict "root" $root "name" .) }}:{{ $service.values.ports.grpc | int64 }}
{{- end }}
{{- end }}
{{- if .root.Values.tls.door.enabled }}
MESH_GATEWAY_TLS_CERTIFICATE_PATH: /etc/mesh/tls/door/tls.crt
MESH_GATEWAY_TLS_KEY_PATH: /etc/mesh/tls/door/tls.key
{{- end }}
{{- end }}

{{/*
The files that stand in values and that a component reads: of each the variable that says where it is, and its text. By
the name of the ConfigMap that holds it and of the volume that this becomes. Takes a component.
*/}}
{{- define "mesh.files" -}}
{{- if and (or .gateway .values.metered) .root.Values.prices }}
prices: {variable: MESH_PRICES_PATH, text: {{ .root.Values.prices | toJson }}}
{{- end }}
{{- if and .gateway .values.llmRouting }}
routing: {variable: MESH_GATEWAY_LLM_ROUTING_PATH, text: {{ .values.llmRouting | toJson }}}
{{- end }}
{{- end }}

{{/* The variables of a container that are no plain settings: passwords, and what values say in so many words. */}}
{{- define "mesh.env" -}}
{{- $entries := list }}
{{- if or .gateway .values.metered }}
{{- $entries = concat $entries (include "mesh.redisEnv" (dict "root" .root "name" "REDIS" "server" .root.Values.redis.external "bundled" .root.Values.redis.bundled) | fromYamlArray) }}
{{- with .root.Values.limitsRedis }}
{{- if or .host .urlSecret }}
{{- $entries = concat $entries (include "mesh.redisEnv" (dict "root" $.root "name" "LIMITS_REDIS" "server" . "bundled" false) | fromYamlArray) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $file := include "mesh.files" . | fromYaml }}
{{- $entries = append $entries (dict "name" $file.variable "value" (printf "/etc/mesh/%s/%s.toml" $name $name)) }}
{{- end }}
{{- range $name, $value := mergeOverwrite (deepCopy .root.Values.env) .values.env }}
{{- $entries = append $entries (dict "name" $name "value" (include "mesh.text" $value)) }}
{{- end }}
{{- $entries = concat $entries .root.Values.extraEnv .values.extraEnv }}
{{- with $entries }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/*
The variables that give a process the address of a Redis. The password is a variable of its own, which Kubernetes
puts into the address, so it stands in no ConfigMap. Takes a dict with root, name, server and bundled.
*/}}
{{- define "mesh.redisEnv" -}}
{{- if .bundled }}
- name: {{ .name }}_PASSWORD
  valueFrom: {secretKeyRef: {{ include "mesh.redisPassword" .root | fromYaml | toJson }}}
- name: MESH_{{ .name }}_URL
  value: redis://:$({{ .name }}_PASSWORD)@{{ include "mesh.fullname" .root }}-redis:6379/0
{{- else if .server.urlSecret }}
- name: MESH_{{ .name }}_URL
  valueFrom: {secretKeyRef: {name: {{ .server.urlSecret }}, key: {{ .server.urlSecretKey }}}}
{{- else }}
{{- $login := .server.username }}
{{- if .server.passwordSecret }}
{{- $login = printf "%s:$(%s_PASSWORD)" .server.username .name }}
- name: {{ .name }}_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .server.passwordSecret }}, key: {{ .server.passwordSecretKey }}}}
{{- end }}
{{- $options := deepCopy .server.options }}
{{- if .server.tls.caSecret }}
{{- $options = set $options "ssl_ca_certs" (printf "/etc/mesh/%s-ca/%s" (.name | lower | replace "_" "-") .server.tls.caSecretKey) }}
{{- end }}
{{- $query := list }}
{{- range $key, $value := $options }}
{{- $query = append $query (printf "%s=%s" $key (include "mesh.text" $value)) }}
{{- end }}
- name: MESH_{{ .name }}_URL
  value: {{ printf "%s://%s%s:%d/%d%s%s" (ternary "rediss" "redis" .server.tls.enabled) (ternary "" (printf "%s@" $login) (empty $login)) .server.host (int .server.port) (int .server.database) (ternary "" "?" (empty $query)) (join "&" $query) | quote }}
{{- end }}
{{- end }}

{{/* Where the password of the bundled Redis is. Takes the root. */}}
{{- define "mesh.redisPassword" -}}
name: {{ .Values.redis.existingSecret | default (printf "%s-redis" (include "mesh.fullname" .)) }}
key: {{ .Values.redis.existingSecretKey }}
{{- end }}
