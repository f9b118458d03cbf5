{{/* Parts of the pod that are long enough to have a name. */}}

{{/*
Kubelet cannot ask by gRPC over TLS, nor where Linkerd lets named identities alone to the port: then it asks the operations
port, which answers the same.
*/}}
{{- define "easemob-gateway.readiness" -}}
{{- if or .Values.tls.enabled .Values.mesh.linkerd.enabled -}}
httpGet:
  path: /readyz
  port: operations
{{- else -}}
grpc:
  port: {{ include "easemob-gateway.port" .Values.config.server.listen }}
{{- end }}
{{- end }}

{{- define "easemob-gateway.volumes" -}}
- name: config
  configMap:
    name: {{ include "easemob-gateway.fullname" . }}
{{- if include "easemob-gateway.ownCallers" . }}
- name: callers
  configMap:
    name: {{ include "easemob-gateway.fullname" . }}-callers
{{- end }}
{{- range $name, $secret := .Values.secrets.apps }}
- name: app-{{ $name | replace "_" "-" }}
  secret:
    secretName: {{ include "easemob-gateway.appSecret" (dict "root" $ "app" $name "secret" $secret) }}
    defaultMode: 0440
    items:
      - key: {{ default "secret" $secret.key }}
        path: secret
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "easemob-gateway.tlsSecret" . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Folders and not files: only so does Kubernetes bring a changed secret into a running pod. */}}
{{- define "easemob-gateway.mounts" -}}
- name: config
  mountPath: /etc/easemob-gateway/config
  readOnly: true
{{- if include "easemob-gateway.ownCallers" . }}
- name: callers
  mountPath: /etc/easemob-gateway/callers
  readOnly: true
{{- end }}
{{- range $name, $secret := .Values.secrets.apps }}
- name: app-{{ $name | replace "_" "-" }}
  mountPath: /etc/easemob-gateway/apps/{{ $name }}
  readOnly: true
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  mountPath: /etc/easemob-gateway/tls
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "easemob-gateway.env" -}}
{{- if or .Values.secrets.store.existingSecret .Values.secrets.store.value }}
- name: EASEMOB_GATEWAY__STORE__URL
  valueFrom:
    secretKeyRef:
      name: {{ default (printf "%s-store" (include "easemob-gateway.fullname" .)) .Values.secrets.store.existingSecret }}
      key: {{ .Values.secrets.store.key }}
{{- end }}
{{- if .Values.sandbox.enabled }}
# The sandbox's documented one: it protects nothing.
- name: SANDBOX_CLIENT_SECRET
  value: sandbox-client-secret
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "easemob-gateway.spread" -}}
{{- if .Values.topologySpreadConstraints }}
{{- toYaml .Values.topologySpreadConstraints }}
{{- else }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "easemob-gateway.selector" $ | nindent 6 }}
  # The pods of a rolling update's two generations are spread apart.
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end }}
