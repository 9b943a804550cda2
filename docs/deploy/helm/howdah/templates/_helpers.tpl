{{- define "howdah.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{- define "howdah.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "howdah.labels" -}}
{{ include "howdah.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "howdah.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What each pod may do: what the "restricted" Pod Security Standard admits, and no more. */}}
{{- define "howdah.pod" -}}
serviceAccountName: {{ include "howdah.name" . }}
automountServiceAccountToken: false
# A Service named howdah would otherwise set HOWDAH_PORT=tcp://..., which is a setting of Howdah.
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "howdah.container" -}}
image: {{ include "howdah.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: HOWDAH_PUBLIC_URL, value: {{ .Values.publicUrl | quote }}}
  - {name: HOWDAH_TRUSTED_PROXIES, value: {{ .Values.trustedProxies | quote }}}
  - {name: HOWDAH_TARGETS, value: {{ .Values.targets | quote }}}
  {{- with .Values.objectsUrl }}
  - {name: HOWDAH_OBJECTS_URL, value: {{ . | quote }}}
  {{- end }}
  {{- with .Values.eventsUrl }}
  - {name: HOWDAH_EVENTS_URL, value: {{ . | quote }}}
  {{- end }}
  - {name: HOWDAH_SECRET_KEY_FILE, value: /run/secrets/howdah/secret_key}
  - {name: HOWDAH_CREDENTIAL_KEY_FILE, value: /run/secrets/howdah/credential_key}
  - {name: HOWDAH_METRICS_TOKEN_FILE, value: /run/secrets/howdah/metrics_token}
  - {name: HOWDAH_DATABASE_URL_FILE, value: /run/secrets/howdah/database_url}
  {{- if .Values.pooled }}
  - {name: HOWDAH_DIRECT_DATABASE_URL_FILE, value: /run/secrets/howdah/direct_database_url}
  {{- end }}
  {{- if .Values.eventsInSecret }}
  - {name: HOWDAH_EVENTS_URL_FILE, value: /run/secrets/howdah/events_url}
  {{- end }}
  {{- range $name, $value := .Values.settings }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
{{- with .Values.environmentFrom }}
envFrom:
  {{- range . }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- end }}
{{- end }}
