{{/* What a pod tells the mesh. */}}

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
# The name since 2.20, and those before it: of 2.19, and of 2.15.
config.linkerd.io/proxy-enable-native-sidecar: "true"
config.beta.linkerd.io/proxy-enable-native-sidecar: "true"
config.alpha.linkerd.io/proxy-enable-native-sidecar: "true"
config.linkerd.io/shutdown-grace-period: {{ sub .Values.terminationGracePeriodSeconds 5 }}s
{{- end }}
{{- end }}

{{- define "easemob-gateway.meshLabels" -}}
{{- if .Values.mesh.istio.enabled }}
sidecar.istio.io/inject: "true"
{{- end }}
{{- end }}
