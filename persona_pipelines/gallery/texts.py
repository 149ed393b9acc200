"""The words of the page in each language; what comes from the data stays as it is."""

from __future__ import annotations

from typing import Literal

LANGUAGES: tuple[Literal["en"], Literal["zh"]] = ("en", "zh")

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Persona gallery", "as_of": "as of", "made_from": "Made from the tables of", "glance": "The audience at a glance", "users": "Users", "people": "users", "groups": "Segments",
        "buyers": "Have bought", "segments": "Segments", "value": "Mean value so far", "lifetime": "Expected value ahead", "likely": "Likely to buy",
        "leaving": "Likely to leave", "sessions": "Mean sessions", "share": "of all users", "interests": "What they give attention to", "rhythm": "When they come",
        "apart": "What sets them apart", "speak": "How to speak to them", "examples": "Two who are typical", "recommender": "What the recommender does for them",
        "recommended_most": "Recommended most", "hits": "with a hit among ten", "rule": "In one rule", "precision": "right for", "coverage": "finds",
        "map": "The segment map", "map_note": "Each point is a user; near is alike. First two principal components of what segments are made of.",
        "movement": "Movement between segments", "from": "From", "to": "To", "no_movement": "This is the first day that was scored: nobody has moved yet.",
        "moved": "users moved", "stayed": "stayed in their segment", "quality": "Data quality", "source": "Source", "read": "Records read", "events": "Events", "rejects": "Rejected",
        "duplicates": "Duplicates", "filtered": "Filtered", "predictions": "How good the predictions are", "target": "Prediction", "model": "Model", "auc": "AUC",
        "calibration": "Calibration error", "lift": "Lift of the top tenth", "drivers": "What they look at most", "no_predictions": "There is too little history for predictions yet.",
        "small": "Fewer than {minimum} users: not shown, so that no card describes a person.", "why": "Why these segments", "average": "average", "less": "less", "more": "more",
        "stage": "Stage", "spent": "spent", "interested_in": "interested in", "last_seen": "last seen {days} days ago", "purchase": "buying", "churn": "leaving", "hours": "Hours of the day",
        "trend": "Size over time", "skip": "To the segments", "ranking": "of ten recommended items", "anomalies": "Unusual days", "no_anomalies": "No day stands out.",
        "day": "Day", "usual": "usual", "quality_segments": "How well they hold together", "silhouette": "Silhouette", "stability": "Come out again (adjusted Rand index)",
    },
    "zh": {
        "title": "用户画像图册", "as_of": "截至", "made_from": "数据来源", "glance": "受众概览", "users": "用户数", "people": "位用户", "groups": "分群", "buyers": "已购买", "segments": "分群数", "value": "人均累计价值",
        "lifetime": "人均预期价值", "likely": "可能购买", "leaving": "可能流失", "sessions": "人均会话", "share": "占全部用户", "interests": "注意力所在", "rhythm": "来访时间",
        "apart": "与众不同之处", "speak": "如何沟通", "examples": "两位典型用户", "recommender": "推荐效果", "recommended_most": "最常推荐", "hits": "十个推荐中有命中", "rule": "一条规则",
        "precision": "准确率", "coverage": "覆盖率", "map": "分群地图", "map_note": "每个点是一位用户，距离近表示相似。取分群所用特征的前两个主成分。", "movement": "分群之间的流动",
        "from": "来自", "to": "去往", "no_movement": "这是第一个评分日，尚无流动。", "moved": "位用户换了分群", "stayed": "位用户留在原分群", "quality": "数据质量", "source": "来源", "read": "读取记录",
        "events": "事件", "rejects": "拒绝", "duplicates": "重复", "filtered": "过滤", "predictions": "预测质量", "target": "预测", "model": "模型", "auc": "AUC", "calibration": "校准误差",
        "lift": "前十分之一的提升度", "drivers": "最看重的特征", "no_predictions": "历史数据太短，暂无预测。", "small": "少于 {minimum} 位用户：不显示细节，以免描述到个人。", "why": "为何如此分群",
        "average": "平均", "less": "低于平均", "more": "高于平均", "stage": "阶段", "spent": "已消费", "interested_in": "兴趣", "last_seen": "{days} 天前来访", "purchase": "购买", "churn": "流失",
        "hours": "一天中的小时", "trend": "规模变化", "skip": "跳到分群", "ranking": "的十个推荐", "anomalies": "异常日期", "no_anomalies": "没有异常的日期。", "day": "日期", "usual": "通常",
        "quality_segments": "分群的聚合程度", "silhouette": "轮廓系数", "stability": "重复性（调整兰德指数）",
    },
}  # fmt: skip

WEEKDAYS = {"en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), "zh": ("周一", "周二", "周三", "周四", "周五", "周六", "周日")}

LIFECYCLE = {"new": "新用户", "active": "活跃", "loyal": "忠诚", "at risk": "有流失风险", "lapsed": "已流失"}
