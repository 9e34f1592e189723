{{- /* Names, labels and the image. */ -}}

{{- define "lead-ingest.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* (dict "root" $ "component" NAME): what a component's pods are found by, which never changes. */ -}}
{{- define "lead-ingest.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* The labels of a pod: a new chart alone replaces none. */ -}}
{{- define "lead-ingest.podLabels" -}}
{{ include "lead-ingest.selector" . }}
app.kubernetes.io/part-of: lead-ingest
{{- end -}}

{{- define "lead-ingest.labels" -}}
{{ include "lead-ingest.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- /* The same with the name and namespace of an object. */ -}}
{{- define "lead-ingest.metadata" -}}
name: {{ include "lead-ingest.fullname" .root }}-{{ .name | default .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "lead-ingest.labels" . | nindent 2 }}
{{- end -}}

{{- define "lead-ingest.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* (dict "root" $ "of" NAME "hook" BOOL): the Secret of redis, broker, mysql, app or tokens: a given one, the chart's, or
its copy for a job that runs before it is there. */ -}}
{{- define "lead-ingest.secretName" -}}
{{- $made := printf "%s-%s" (include "lead-ingest.fullname" .root) .of -}}
{{- if and .hook (not .root.Values.trial.enabled) (ne .of "tokens") -}}
{{- $made = printf "%s-hook" $made -}}
{{- end -}}
{{- default $made (index .root.Values .of).existingSecret -}}
{{- end -}}

{{- /* A number as text: Helm reads those of a file as floating-point ones, and would write 1e+06. */ -}}
{{- define "lead-ingest.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}
