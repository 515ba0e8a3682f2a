{{- define "cairn.name" -}}
{{- if contains "cairn" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-cairn{{ end }}
{{- end }}

{{- define "cairn.selector" -}}
app.kubernetes.io/name: cairn
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cairn.labels" -}}
{{ include "cairn.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "cairn.publicUrl" -}}
{{- required "publicUrl is needed: the address that people and clients use, such as https://hub.example.com" .Values.publicUrl | trimSuffix "/" }}
{{- end }}
