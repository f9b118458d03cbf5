{{/* What a pod and a Service tell the mesh. */}}

{{/*
The proxy has to outlive the gateway: what is dispatched ends within the drain. Native sidecars start before the gateway and end after
it; the drain times hold where a mesh does not have them yet.
*/}}
{{- define "easemob-gateway.meshAnnotations" -}}
{{- if .Values.mesh.istio.enabled }}
sidecar.istio.io/nativeSidecar: "true"
proxy.istio.io/config: |
  holdApplicationUntilProxyStarts: true
  terminationDrainDuration: {{ sub .Values.terminationGracePeriodSeconds 5 }}s
{{- end }}
{{- if .Values.mesh.linkerd.enabled }}
linkerd.io/inject: enabled
config.beta.linkerd.io/proxy-enable-native-sidecar: "true"
config.linkerd.io/shutdown-grace-period: {{ sub .Values.terminationGracePeriodSeconds 5 }}s
{{- end }}
{{- end }}

{{- define "easemob-gateway.meshLabels" -}}
{{- if .Values.mesh.istio.enabled }}
sidecar.istio.io/inject: "true"
{{- end }}
{{- end }}

{{/*
UNAVAILABLE from the gateway always means that nothing was sent, so it may be repeated; no other code may. Uploads are never
repeated by Linkerd: it keeps bodies up to 64 KiB for a retry.
*/}}
{{- define "easemob-gateway.linkerdServiceAnnotations" -}}
retry.linkerd.io/grpc: unavailable
retry.linkerd.io/limit: "1"
{{- end }}
