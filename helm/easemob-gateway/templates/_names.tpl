{{/* Names and labels. */}}

{{- define "easemob-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "easemob-gateway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "easemob-gateway.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "easemob-gateway.selector" -}}
app.kubernetes.io/name: {{ include "easemob-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{/* Labels of every object; the component is said where it is another one. */}}
{{- define "easemob-gateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "easemob-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "easemob-gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "easemob-gateway.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "easemob-gateway.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Port of an address such as 0.0.0.0:50051 or [::]:50051. */}}
{{- define "easemob-gateway.port" -}}
{{- splitList ":" . | last }}
{{- end }}

{{/* The port of gRPC-Web, if there is to be one. */}}
{{- define "easemob-gateway.webPort" -}}
{{- $web := .Values.config.server.grpc_web | default dict }}
{{- with get $web "listen" }}{{ include "easemob-gateway.port" . }}{{ end }}
{{- end }}

{{- define "easemob-gateway.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}
{{- printf "%s-tls" (include "easemob-gateway.fullname" .) }}
{{- else }}
{{- .Values.tls.existingSecret }}
{{- end }}
{{- end }}

{{/* The Secret of an app's credentials: (dict "root" $ "app" name "secret" value). */}}
{{- define "easemob-gateway.appSecret" -}}
{{- if .secret.existingSecret }}
{{- .secret.existingSecret }}
{{- else }}
{{- printf "%s-app-%s" (include "easemob-gateway.fullname" .root) .app | replace "_" "-" }}
{{- end }}
{{- end }}
