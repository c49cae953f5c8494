{{/* Everything that runs a component and lets it be found. Takes a component. */}}
{{- define "mesh.workload" -}}
{{ include "mesh.configMap" . }}
---
{{ include "mesh.deployment" . }}
{{- if .values.serviceAccount.create }}
---
{{ include "mesh.serviceAccount" . }}
{{- end }}
{{- if .values.autoscaling.enabled }}
---
{{ include "mesh.autoscaler" . }}
{{- end }}
{{- if .values.disruption.enabled }}
---
{{ include "mesh.disruptionBudget" . }}
{{- end }}
{{- if .root.Values.monitoring.serviceMonitor.enabled }}
---
{{ include "mesh.metricsService" . }}
{{- end }}
{{- end }}

{{- define "mesh.objectMetadata" -}}
{{- include "mesh.metadata" (dict "root" .root "name" .name "object" (include "mesh.name" .)) }}
{{- end }}

{{- define "mesh.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "mesh.objectMetadata" . | nindent 2 }}
data:
  {{- include "mesh.settings" . | nindent 2 }}
{{- end }}

{{- define "mesh.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "mesh.metadata" (dict "root" .root "name" .name "object" (include "mesh.name" .) "annotations" .values.serviceAccount.annotations) | nindent 2 }}
automountServiceAccountToken: false
{{- end }}

{{- define "mesh.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "mesh.objectMetadata" . | nindent 2 }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicas | int64 }}
  {{- end }}
  revisionHistoryLimit: 5
  progressDeadlineSeconds: {{ .values.progressDeadlineSeconds | int64 }}
  minReadySeconds: {{ .values.minReadySeconds | int64 }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "mesh.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "mesh.labels" . | nindent 8 }}
        {{- with .values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/config: {{ include "mesh.settings" . | sha256sum }}
        {{- with include "mesh.files" . }}
        checksum/files: {{ . | sha256sum }}
        {{- end }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "mesh.podSpec" . | nindent 6 }}
{{- end }}

{{- define "mesh.podSpec" -}}
serviceAccountName: {{ .values.serviceAccount.name | default (include "mesh.name" .) }}
automountServiceAccountToken: false
# Kubernetes would set MESH_..._PORT for each Service of a release called mesh, and processes refuse unknown names.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "mesh.grace" . }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
securityContext:
  {{- include "mesh.podSecurity" . | nindent 2 }}
{{- include "mesh.scheduling" . | trim | nindent 0 }}
{{- with include "mesh.fetchers" . | trim }}
{{ . }}
{{- end }}
containers:
  - name: {{ .name }}
    image: {{ include "mesh.componentImage" . }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    ports:
      {{- range $name, $port := .values.ports }}
      - {name: {{ $name }}, containerPort: {{ $port | int64 }}}
      {{- end }}
    envFrom:
      - configMapRef: {name: {{ include "mesh.name" . }}}
    {{- with include "mesh.env" . }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    {{- include "mesh.probes" . | trim | nindent 4 }}
    resources:
      {{- include "mesh.resources" . | nindent 6 }}
    securityContext:
      {{- include "mesh.containerSecurity" . | nindent 6 }}
    volumeMounts:
      {{- include "mesh.volumeMounts" . | nindent 6 }}
volumes:
  {{- include "mesh.volumes" . | nindent 2 }}
{{- end }}

{{- define "mesh.autoscaler" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "mesh.objectMetadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "mesh.name" . }}
  minReplicas: {{ .values.autoscaling.minReplicas | int64 }}
  maxReplicas: {{ .values.autoscaling.maxReplicas | int64 }}
  metrics:
    {{- with .values.autoscaling.cpuPercent }}
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ . | int64 }}}
    {{- end }}
    {{- with .values.autoscaling.inFlight.target }}
    - type: Pods
      pods:
        metric: {name: {{ $.values.autoscaling.inFlight.metric }}}
        target: {type: AverageValue, averageValue: {{ include "mesh.text" . | quote }}}
    {{- end }}
  {{- with .values.autoscaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "mesh.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "mesh.objectMetadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ include "mesh.text" .values.disruption.maxUnavailable }}
  # A pod that does not serve anyway is no reason to keep a node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "mesh.selector" . | nindent 6 }}
{{- end }}

{{/* The admin port, for Prometheus alone: never part of a Service that callers use. */}}
{{- define "mesh.metricsService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "mesh.metadata" (dict "root" .root "name" .name "object" (printf "%s-metrics" (include "mesh.name" .))) | nindent 2 }}
spec:
  clusterIP: None
  ports:
    - {name: admin, port: {{ .values.ports.admin | int64 }}, targetPort: admin}
  selector:
    {{- include "mesh.selector" . | nindent 4 }}
{{- end }}
