/** Every text of the page, Chinese and English. Chinese is the default; the choice is kept in this browser. */

export type Language = "zho" | "eng";

const WORDS = {
  title: ["播出前端", "Head end"],
  houseTime: ["台内时间", "House time"],
  ready: ["全部正常播出", "All channels on air"],
  notReady: ["需要处理", "Needs attention"],
  connecting: ["正在连接…", "Connecting…"],
  linked: ["已连接", "Connected"],
  unlinked: ["连接中断，正在重连", "Connection lost, reconnecting"],
  unlock: ["解锁操作", "Unlock controls"],
  lock: ["锁定操作", "Lock controls"],
  token: ["管理员令牌", "Administrator's token"],
  tokenHelp: [
    "令牌即环境变量 HEADEND_TOKEN，或数据目录中的文件 token。只保存在本标签页，关闭即清除。",
    "The token is HEADEND_TOKEN, or stands in the file token of the data directory. It is kept in this tab only.",
  ],
  readNeedsToken: ["查看本页需要令牌", "Reading this page needs the token"],
  ok: ["确定", "OK"],
  cancel: ["取消", "Cancel"],
  onAir: ["正在播出", "On air"],
  next: ["下一条", "Next"],
  nothingNext: ["节目单中没有后续节目", "Nothing follows in the schedule"],
  nothingOnAir: ["尚无画面", "No picture yet"],
  since: ["{} 开始", "since {}"],
  remaining: ["剩余 {}", "{} left"],
  in: ["{} 后", "in {}"],
  now: ["即将开始", "any moment"],
  sources: ["信号源", "Sources"],
  noSources: ["没有配置直播信号源", "No live sources are configured"],
  asrun: ["播出记录", "As run"],
  asrunEmpty: ["过去 24 小时没有记录", "No rows in the last 24 hours"],
  asrunFile: ["下载 CSV", "Download CSV"],
  take: ["切入", "Take"],
  release: ["交还", "Release"],
  skip: ["跳过", "Skip"],
  dump: ["清除延时", "Dump delay"],
  confirm: ["确认？", "Confirm?"],
  confirmWhat: ["确认：{}？", "Confirm: {}?"],
  takeHelp: ["把所选信号源切入播出", "Put the chosen source on air"],
  releaseHelp: ["交还给节目单", "Give the air back to the schedule"],
  crawlHelp: ["输入滚动字幕", "Text of the crawl"],
  skipHelp: ["结束当前节目，播下一条", "End this item and go on with the next"],
  dumpHelp: ["丢弃延时缓冲中的内容", "Throw away what waits in the delay"],
  source: ["信号源", "Source"],
  crawl: ["滚动字幕", "Crawl"],
  crawlSet: ["上字幕", "Show"],
  crawlOff: ["撤下", "Take off"],
  done: ["已执行", "Done"],
  sent: ["已发送…", "Sent…"],
  frameAge: ["帧龄", "Frame age"],
  quality: ["清晰度", "Quality"],
  latency: ["延迟", "Latency"],
  buffer: ["缓冲", "Buffer"],
  stalls: ["卡顿", "Stalls"],
  delay: ["播出延时", "Delay"],
  frames: ["已播帧", "Frames"],
  repeats: ["重复", "Repeats"],
  holds: ["保持", "Holds"],
  drops: ["丢弃", "Drops"],
  jumps: ["跳帧", "Jumps"],
  gaps: ["缺口", "Gaps"],
  workers: ["进程", "Processes"],
  restarts: ["重启", "restarts"],
  unreachable: ["频道进程无应答，以下为最后状态", "The channel's process does not answer; this is its last known state"],
  sound: ["开声音", "Sound on"],
  mute: ["静音", "Mute"],
  playerWaiting: ["等待画面…", "Waiting for picture…"],
  playerBroken: ["预览中断，正在重试", "Preview broke off, trying again"],
  playerCannot: ["此浏览器不能播放 HLS", "This browser cannot play HLS"],
  failed: ["未执行", "Not done"],
  bad: ["故障", "failed"],
  good: ["正常", "good"],
  waiting: ["等待", "waiting"],
  idle: ["未打开", "idle"],
  mode_alert: ["应急", "ALERT"],
  mode_take: ["切入", "TAKE"],
  mode_live: ["直播", "LIVE"],
  mode_schedule: ["节目单", "SCHEDULE"],
  mode_filler: ["垫播", "FILLER"],
  mode_slate: ["垫片", "SLATE"],
  mode_starting: ["启动中", "STARTING"],
  mode_unknown: ["未知", "UNKNOWN"],
  noAnswer: ["没有应答", "No answer from the head end"],
  tokenWrong: ["令牌不正确", "That is not the token"],
  docs: ["接口文档", "API"],
  metrics: ["指标", "Metrics"],
} satisfies Record<string, readonly [string, string]>;

export type Word = keyof typeof WORDS;

const KEY = "headend.language";
let current: Language = localStorage.getItem(KEY) === "eng" ? "eng" : "zho";

export function language(): Language {
  return current;
}

export function setLanguage(next: Language): void {
  current = next;
  localStorage.setItem(KEY, next);
  document.documentElement.lang = next === "zho" ? "zh-CN" : "en";
  document.title = say("title");
}

/** The text of a word in the language chosen, with `value` in its place. */
export function say(word: Word, value = ""): string {
  return WORDS[word][current === "zho" ? 0 : 1].replace("{}", value);
}

/** Write the texts of everything below `root` that names its word in `data-word` (text), `data-tip` (title) or `data-label`. */
export function translate(root: ParentNode): void {
  for (const node of root.querySelectorAll<HTMLElement>("[data-word]")) node.textContent = say(node.dataset["word"] as Word);
  for (const node of root.querySelectorAll<HTMLElement>("[data-tip]")) node.title = say(node.dataset["tip"] as Word);
  for (const node of root.querySelectorAll<HTMLElement>("[data-label]"))
    node.setAttribute("aria-label", say(node.dataset["label"] as Word));
}
