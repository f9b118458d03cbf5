// Every word of the page, in English and in Chinese.

const WORDS = {
  all: ["All messages", "全部消息"],
  always: ["until removed", "直到移除"],
  audio: ["Voice", "语音"],
  back: ["Back to conversations", "返回会话列表"],
  cancel: ["Cancel", "取消"],
  clear: ["Clear", "清空"],
  clearText: ["The sandbox forgets every message. Files and faults stay.", "沙箱将忘记所有消息；文件和故障保留。"],
  clearTitle: ["Clear all messages?", "清空所有消息？"],
  clearYes: ["Clear messages", "清空消息"],
  close: ["Close", "关闭"],
  cmd: ["Command", "透传"],
  cmdNote: ["For the app; its user sees nothing.", "由应用处理，用户看不到。"],
  conversations: ["Conversations", "会话"],
  copy: ["Copy", "复制"],
  custom: ["Custom", "自定义"],
  delay: ["Delay", "时长"],
  details: ["Details", "详情"],
  download: ["Save", "保存"],
  duration: ["{0} s", "{0} 秒"],
  empty: ["Nothing here yet", "还没有消息"],
  emptyText: ["Send something, and it appears here by itself:", "发送一条消息，它会自动出现在这里："],
  endpoint: ["Calls", "接口"],
  error: ["Error", "错误"],
  ext: ["Extension", "扩展字段"],
  faultAdd: ["Add fault", "添加故障"],
  faultNone: ["No faults: everything works.", "没有故障：一切正常。"],
  faultText: ["What goes wrong on purpose, in this order.", "按此顺序故意制造的错误。"],
  faults: ["Faults", "故障"],
  file: ["File", "文件"],
  fileForbidden: ["Recipients cannot open this file: its share secret is missing or wrong.", "接收者无法打开此文件：share secret 缺失或错误。"],
  fileGone: ["This file is not in the sandbox.", "沙箱中没有此文件。"],
  filter: ["Message types", "消息类型"],
  fired: ["happened {0}×", "已发生 {0} 次"],
  from: ["from {0}", "来自 {0}"],
  group: ["Groups", "群组"],
  groupOne: ["Group", "群组"],
  ids: ["Message IDs", "消息 ID"],
  img: ["Image", "图片"],
  kind: ["What happens", "故障类型"],
  language: ["中文", "English"],
  left: ["{0} left", "还剩 {0} 次"],
  live: ["Live", "实时"],
  loc: ["Location", "位置"],
  members: ["only for {0}", "仅 {0} 可见"],
  messages: ["Messages", "消息"],
  more: ["{0} more: search for them", "还有 {0} 个，请搜索"],
  newMessages: ["{0} new", "{0} 条新消息"],
  nothingFound: ["Nothing matches", "没有匹配的消息"],
  nothingFoundText: ["Try another search, or other types.", "换个关键词或消息类型试试。"],
  offline: ["Reconnecting", "正在重连"],
  older: ["Load older messages", "加载更早的消息"],
  probability: ["Chance", "概率"],
  received: ["Received", "接收时间"],
  remove: ["Remove", "移除"],
  request: ["Request as sent", "原始请求"],
  room: ["Chat rooms", "聊天室"],
  roomOne: ["Chat room", "聊天室"],
  search: ["Search text, IDs, traces", "搜索内容、ID、Trace"],
  theme: ["Light or dark", "浅色或深色"],
  times: ["Times", "次数"],
  to: ["To", "接收者"],
  token: ["Token", "Token"],
  total: ["{0} messages", "{0} 条消息"],
  trace: ["Trace ID", "Trace ID"],
  traceNone: ["The call was part of no trace.", "该请求没有 trace。"],
  txt: ["Text", "文本"],
  types: ["All types", "全部类型"],
  unplayable: ["This browser cannot play it.", "浏览器无法播放此文件。"],
  user: ["Users", "用户"],
  userOne: ["User", "用户"],
  video: ["Video", "视频"],
  viewImage: ["View {0}", "查看 {0}"],
  "kind.close": ["Close without an answer", "不应答即关闭连接"],
  "kind.html": ["HTML page of a proxy", "代理的 HTML 页面"],
  "kind.latency": ["Answer late", "延迟应答"],
  "kind.outage": ["Outage: nobody listens", "停机：端口关闭"],
  "kind.oversized": ["Answer of 2 MB", "2 MB 的应答"],
  "kind.redirect": ["Redirect", "重定向"],
  "kind.reset_after": ["Reset after reading", "读取后重置连接"],
  "kind.reset_before": ["Reset before reading", "读取前重置连接"],
  "kind.silence": ["Silence", "无应答"],
  "kind.slow": ["Answer byte by byte", "逐字节应答"],
  "kind.status": ["Documented error", "文档中的错误"],
  "kind.token_revoked": ["Token revoked", "Token 被吊销"],
  "kind.truncated": ["Half an answer", "应答被截断"],
  "kind.without_ids": ["200 without message IDs", "200 但没有消息 ID"],
  "scope.all": ["All calls", "所有接口"],
  "scope.chatroom_members": ["Sends to room members", "聊天室定向消息"],
  "scope.chatrooms": ["Sends to chat rooms", "聊天室消息"],
  "scope.download": ["Downloads", "文件下载"],
  "scope.group_members": ["Sends to group members", "群定向消息"],
  "scope.groups": ["Sends to groups", "群消息"],
  "scope.sends": ["All sends", "所有发送"],
  "scope.token": ["Token requests", "获取 Token"],
  "scope.upload": ["Uploads", "文件上传"],
  "scope.users": ["Sends to users", "单聊消息"],
};

const kept = localStorage.getItem("language");
let chinese = kept ? kept === "zh" : navigator.language.toLowerCase().startsWith("zh");

export const locale = () => (chinese ? "zh-CN" : "en");

export function w(key, ...values) {
  const text = WORDS[key][chinese ? 1 : 0];
  return text.replace(/\{(\d)\}/g, (_, index) => values[index]);
}

export function toggleLanguage() {
  chinese = !chinese;
  localStorage.setItem("language", chinese ? "zh" : "en");
}

// Fills in what the document itself says.
export function label(root) {
  document.documentElement.lang = locale();
  for (const element of root.querySelectorAll("[data-word]")) element.textContent = w(element.dataset.word);
  for (const element of root.querySelectorAll("[data-placeholder]")) element.placeholder = w(element.dataset.placeholder);
  for (const element of root.querySelectorAll("[data-label]")) element.ariaLabel = w(element.dataset.label);
  for (const element of root.querySelectorAll("[data-title]")) {
    element.title = w(element.dataset.title);
    element.ariaLabel = element.title;
  }
}

export function time(iso) {
  return new Date(iso).toLocaleTimeString(locale(), { hour12: false });
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count.toLocaleString(locale(), { maximumFractionDigits: unit ? 1 : 0 })} ${units[unit]}`;
}
