{{- /* The name of all objects of this release. */ -}}
{{- define "streamfleet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What the operator's pods are selected by: never changes for a release. */ -}}
{{- define "streamfleet.selectorLabels" -}}
app.kubernetes.io/name: streamfleet-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "streamfleet.labels" -}}
{{ include "streamfleet.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "streamfleet.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- /* `streamfleet-producer` beside the operator's image, unless it is named. */ -}}
{{- define "streamfleet.producerImage" -}}
{{- if .Values.producer.image -}}
{{- .Values.producer.image -}}
{{- else -}}
{{- $path := splitList "/" .Values.image.repository -}}
{{- append (initial $path) "streamfleet-producer" | join "/" -}}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
