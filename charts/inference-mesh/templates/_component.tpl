{{/*
A component is the gateway or a service, with every value it has: its own over those that all services share.
Takes a dict with root and name. Gives YAML, to be read with fromYaml:

  name: classifier        as in values
  variable: CLASSIFIER    as in the names of settings
  gateway: false
  values: {...}
*/}}
{{- define "mesh.component" -}}
{{- $gateway := eq .name "gateway" }}
{{- $own := ternary .root.Values.gateway (get .root.Values.services .name) $gateway | default dict }}
{{- $values := mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (ternary dict .root.Values.serviceDefaults $gateway)) (deepCopy $own) }}
name: {{ .name }}
variable: {{ .name | upper | replace "-" "_" }}
gateway: {{ $gateway }}
values:
  {{- toYaml $values | nindent 2 }}
{{- end }}

{{/* The names of the services that are on, as a JSON object {"names": [...]}. Takes the root. */}}
{{- define "mesh.services" -}}
{{- $names := list }}
{{- range $name, $service := .Values.services }}
{{- if dig "enabled" true ($service | default dict) }}
{{- $names = append $names $name }}
{{- end }}
{{- end }}
{{- dict "names" ($names | sortAlpha) | toJson }}
{{- end }}

{{/* A scalar as text: Helm reads whole numbers as floats, and would write 4194304 as 4.194304e+06. */}}
{{- define "mesh.text" -}}
{{- if and (kindIs "float64" .) (eq (float64 (int64 .)) .) }}{{ int64 . }}
{{- else if or (kindIs "slice" .) (kindIs "map" .) }}{{ toJson . }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{/*
How long Kubernetes lets a pod of the component end. On SIGTERM a process says NOT_SERVING at once and serves on
for drain_delay_s, while its address leaves every load balancer; then it accepts no more and finishes what is in
flight, drain_timeout_s at most. So there is no preStop hook: to sleep in one would only put off the moment at
which the process says that it leaves. The 10 seconds more are for closing exporters and the interpreter.
*/}}
{{- define "mesh.grace" -}}
{{- $settings := mergeOverwrite (deepCopy .root.Values.settings) .values.settings }}
{{- addf $settings.drain_delay_s (include "mesh.drainTimeout" . | float64) 10 | ceil | int64 -}}
{{- end }}

{{/*
Most seconds that a stopping process of the component waits for what is in flight. The gateway has the calls of every
service in flight, so it waits for as long as the slowest of those that it calls. Takes a component.
*/}}
{{- define "mesh.drainTimeout" -}}
{{- $most := .root.Values.settings.drain_timeout_s }}
{{- if .gateway }}
{{- $root := .root }}
{{- range (include "mesh.services" .root | fromJson).names }}
{{- $service := include "mesh.component" (dict "root" $root "name" .) | fromYaml }}
{{- if $service.values.behindGateway }}
{{- $most = maxf $most ($service.values.settings.drain_timeout_s | default 0) }}
{{- end }}
{{- end }}
{{- end }}
{{- .values.settings.drain_timeout_s | default $most -}}
{{- end }}

{{/* The Secret with the certificate that a component shows inside the mesh. */}}
{{- define "mesh.internalTlsSecret" -}}
{{- if .values.internalTlsSecret }}{{ .values.internalTlsSecret }}
{{- else if .root.Values.tls.internal.existingSecret }}{{ .root.Values.tls.internal.existingSecret }}
{{- else }}{{ include "mesh.name" . }}-internal-tls{{ end }}
{{- end }}

{{/* The Secret with the certificate that callers see. Takes the root. */}}
{{- define "mesh.doorTlsSecret" -}}
{{- .Values.tls.door.existingSecret | default (printf "%s-door-tls" (include "mesh.fullname" .)) -}}
{{- end }}

{{/* Whether a service has a model, and where it comes from: fetch, claim, host, hub (it downloads the model itself, to
a volume of its own), or empty. Takes a component. */}}
{{- define "mesh.modelSource" -}}
{{- if hasPrefix "hf://" (.values.settings.model_uri | default "") }}hub
{{- else if and (not .gateway) .values.model.name (not .values.settings.model_uri) (ne (.values.settings.engine | default "") "remote") }}
{{- if .root.Values.models.existingClaim }}claim
{{- else if .root.Values.models.hostPath }}host
{{- else }}fetch{{ end }}
{{- end }}
{{- end }}

{{/* The Secret with the hashing keys. Takes the root. */}}
{{- define "mesh.hashingKeySecret" -}}
{{- .Values.hashingKey.existingSecret | default (printf "%s-hashing-key" (include "mesh.fullname" .)) -}}
{{- end }}
