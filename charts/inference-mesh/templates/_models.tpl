{{/*
How a service comes to its model. From a volume that others fill, or by containers of its own: one that fetches the
first version and ends, then, unless a version is pinned or nothing is followed, one that brings each later promotion
for as long as the pod lives (a native sidecar: it starts before the service and never holds up a pod's end). Takes a
component.
*/}}
{{- define "mesh.fetchers" -}}
{{- if eq (include "mesh.modelSource" .) "fetch" }}
initContainers:
  - name: fetch
    {{- include "mesh.fetcher" . | nindent 4 }}
  {{- if and .values.model.follow (not .values.model.version) }}
  - name: follow
    restartPolicy: Always
    args: [--follow]
    {{- include "mesh.fetcher" . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "mesh.fetcher" -}}
image: {{ include "mesh.componentImage" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [/app/bin/fetch]
env:
  {{- with .root.Values.models.url }}
  - {name: MESH_MODELS_URL, value: {{ . | quote }}}
  {{- end }}
  - {name: MESH_MODELS_PATH, value: /models}
  - {name: MESH_FETCH_MODEL, value: {{ .values.model.name | quote }}}
  - {name: MESH_FETCH_ALIAS, value: {{ .values.model.alias | quote }}}
  {{- with .values.model.version }}
  - {name: MESH_FETCH_VERSION, value: {{ . | quote }}}
  {{- end }}
  - {name: MESH_FETCH_INTERVAL_S, value: {{ include "mesh.text" .root.Values.models.fetch.intervalSeconds | quote }}}
  {{- with .root.Values.models.fetch.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.models.fetch.credentialsSecret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
resources:
  {{- toYaml .root.Values.models.fetch.resources | nindent 2 }}
securityContext:
  {{- include "mesh.containerSecurity" . | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: models, mountPath: /models}
  {{- if .root.Values.models.fetch.mirrorVolume }}
  - {name: mirror, mountPath: /mirror, readOnly: true}
  {{- end }}
{{- end }}

{{- define "mesh.modelVolumes" }}
{{- $source := include "mesh.modelSource" . }}
{{- if eq $source "claim" }}
- name: models
  persistentVolumeClaim: {claimName: {{ .root.Values.models.existingClaim }}, readOnly: true}
{{- else if eq $source "host" }}
- name: models
  hostPath: {path: {{ .root.Values.models.hostPath }}, type: Directory}
{{- else if eq $source "hub" }}
- name: models
  emptyDir: {sizeLimit: {{ .values.model.size | default .root.Values.models.fetch.size }}}
{{- else if eq $source "fetch" }}
- name: models
  emptyDir: {sizeLimit: {{ .values.model.size | default .root.Values.models.fetch.size }}}
{{- with .root.Values.models.fetch.mirrorVolume }}
- name: mirror
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
