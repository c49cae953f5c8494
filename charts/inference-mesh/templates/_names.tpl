{{/* The name that every object begins with: the release's. */}}
{{- define "mesh.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The name of a component's objects. Takes a component (see mesh.component). */}}
{{- define "mesh.name" -}}
{{- printf "%s-%s" (include "mesh.fullname" .root) .name -}}
{{- end }}

{{/*
What selects the pods of a component. Deployments can't change it, so it holds nothing that a version or a
value changes. Takes a dict with root and name.
*/}}
{{- define "mesh.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* The labels of an object and of pods. Takes a dict with root and name. */}}
{{- define "mesh.labels" -}}
{{ include "mesh.selector" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The metadata of an object. Takes a dict with root, name (the component's), object (the object's name), and
optionally annotations. */}}
{{- define "mesh.metadata" -}}
name: {{ .object }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "mesh.labels" . | nindent 2 }}
  helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* An image. Takes a dict with image (registry, repository, tag, digest), tag (where the image has none) and
suffix. */}}
{{- define "mesh.image" -}}
{{- with .image.registry }}{{ . }}/{{ end -}}
{{- .image.repository }}:{{ .image.tag | default .tag }}{{ .suffix }}
{{- with .image.digest }}@{{ . }}{{ end -}}
{{- end }}
