-- The work of the project by hand: what a person who knows DuckDB well would write for these files and nothing else.
-- part: logs
CREATE TABLE raw AS
SELECT filename AS source_file, event_id, pseudonym(user_id) AS user_id, try_cast(timestamp AS TIMESTAMPTZ)::TIMESTAMP AS timestamp, event_type,
       item_id, try_cast(value AS DOUBLE) AS value, try_cast(dwell_ms AS BIGINT) AS dwell_ms, device, channel,
       regexp_extract(filename, '(\d{4}-\d{2}-\d{2})', 1)::DATE AS day,
       CASE WHEN try_cast(timestamp AS TIMESTAMPTZ) IS NULL THEN 'timestamp: not readable as a time' WHEN dwell_ms::BIGINT < 0 THEN 'dwell_ms: below 0'
            WHEN event_type NOT IN ('item_view', 'page_view', 'add_to_cart', 'purchase', 'click') THEN 'event_type: not in the vocabulary' END AS problem
FROM read_csv('$FOLDER/logs/*.csv.gz', all_varchar = true, filename = true, store_rejects = true);

CREATE TABLE catalogue AS FROM read_csv('$FOLDER/items.csv');

-- part: events
CREATE TABLE rejects AS SELECT source_file, event_id, day, problem FROM raw WHERE problem IS NOT NULL;

CREATE TEMP TABLE several AS SELECT event_id FROM raw WHERE problem IS NULL GROUP BY event_id HAVING count(*) > 1;

CREATE TABLE duplicates AS
SELECT source_file, event_id, day, place FROM (
  SELECT source_file, event_id, day, rowid AS place, row_number() OVER (PARTITION BY event_id ORDER BY day, rowid) AS copy
  FROM raw WHERE problem IS NULL AND event_id IN (FROM several)
) WHERE copy > 1;

CREATE TABLE events AS
SELECT day, source_file, event_id, user_id, timestamp, event_type, item_id, value, dwell_ms, device, channel,
       user_id || '-' || (epoch_us(max(started) OVER running) // 1000000) AS session_id,
       CASE WHEN coalesce(dwell_ms, gap_after) > 1800000 THEN 1800000 ELSE coalesce(dwell_ms, gap_after) END AS attention_ms
FROM (
  SELECT *, CASE WHEN before IS NULL OR timestamp - before > INTERVAL 30 MINUTES THEN timestamp END AS started,
         CASE WHEN after - timestamp <= INTERVAL 30 MINUTES THEN epoch_ms(after) - epoch_ms(timestamp) END AS gap_after
  FROM (
    SELECT *, lag(timestamp) OVER visitor AS before, lead(timestamp) OVER visitor AS after
    FROM raw WHERE problem IS NULL AND rowid NOT IN (SELECT place FROM duplicates)
    WINDOW visitor AS (PARTITION BY user_id ORDER BY timestamp, source_file, rowid)
  )
)
WINDOW running AS (PARTITION BY user_id ORDER BY timestamp, source_file, event_id ROWS UNBOUNDED PRECEDING);

CREATE TABLE sessions AS
SELECT session_id, min(user_id) AS user_id, min(timestamp) AS started_at, max(timestamp) AS ended_at, count(*) AS events,
       count(DISTINCT item_id) AS items, sum(attention_ms) AS attention_ms, min(device) AS device, min(channel) AS channel
FROM events GROUP BY session_id;

CREATE TABLE accounting AS
SELECT day, count(*) AS records, (SELECT count(*) FROM events e WHERE e.day = raw.day) AS events,
       (SELECT count(*) FROM rejects r WHERE r.day = raw.day) AS rejects, (SELECT count(*) FROM duplicates d WHERE d.day = raw.day) AS duplicates
FROM raw GROUP BY day;

CREATE TABLE items AS
WITH known AS (
  SELECT item_id, category, coalesce(price, paid) AS price
  FROM (SELECT DISTINCT item_id FROM events UNION SELECT item_id FROM catalogue) LEFT JOIN catalogue USING (item_id)
  LEFT JOIN (SELECT item_id, median(value) AS paid FROM events WHERE event_type = 'purchase' GROUP BY item_id) USING (item_id)
)
SELECT *, percent_rank() OVER (PARTITION BY category ORDER BY price) AS price_rank FROM known;

-- part: features
CREATE TABLE category_shares AS
WITH daily AS (
  SELECT user_id, category, timestamp::DATE AS date, sum(greatest(coalesce(attention_ms, 0), 1000)) AS ms
  FROM events JOIN items USING (item_id) WHERE category IS NOT NULL GROUP BY ALL
), sums AS (
  SELECT user_id, category, sum(ms) AS ms, min(date) AS first, sum(ms * date_diff('day', DATE '1970-01-01', date)) AS day_sum, count(*) AS active_days
  FROM daily GROUP BY ALL
)
SELECT *, ms / sum(ms) OVER (PARTITION BY user_id) AS share, row_number() OVER (PARTITION BY user_id ORDER BY ms DESC, category) AS rank,
  CASE WHEN active_days >= 3 THEN (day_sum / ms - date_diff('day', DATE '1970-01-01', first)) * ln(2) END AS interest_half_life_days
FROM sums;

CREATE TABLE user_features AS
WITH facts AS (
  SELECT events.*, price_rank, price, timestamp::DATE AS date, hour(timestamp) AS hour, isodow(timestamp) AS weekday
  FROM events LEFT JOIN items USING (item_id)
), sums AS (
  SELECT user_id, min(date) AS first_date, max(date) AS last_date, count(*) AS events,
    coalesce(sum(value) FILTER (event_type = 'purchase'), 0) AS monetary_value,
    coalesce(sum(value) FILTER (event_type = 'purchase' AND date > DATE '2025-06-30'), 0) AS spent_last_90_days,
    sum(attention_ms) AS attention_ms, sum(attention_ms) FILTER (item_id IS NOT NULL) AS item_attention_ms, count(DISTINCT item_id) AS items,
    avg((hour < 6)::INT) AS night_share, avg((hour BETWEEN 6 AND 11)::INT) AS morning_share, avg((hour BETWEEN 12 AND 17)::INT) AS afternoon_share,
    avg((hour >= 18)::INT) AS evening_share, avg((weekday >= 6)::INT) AS weekend_share,
    avg((device = 'mobile')::INT) AS mobile_share, avg((device = 'tablet')::INT) AS tablet_share, avg(price_rank) AS price_level,
    count(*) FILTER (event_type = 'purchase' AND value < 0.95 * price) / nullif(count(*) FILTER (event_type = 'purchase' AND value IS NOT NULL AND price IS NOT NULL), 0) AS discount_share,
    count(*) FILTER (event_type = 'impression') AS impressions, count(*) FILTER (event_type = 'click') AS clicks,
    count(*) FILTER (event_type = 'search') AS searches, count(*) FILTER (event_type IN ('like', 'share', 'comment', 'follow')) AS social_actions,
    count(*) FILTER (event_type = 'rating') AS ratings, avg(value) FILTER (event_type = 'rating') AS average_rating,
    count(*) FILTER (timestamp >= DATE '2025-09-22') AS events_last_7_days,
    count(*) FILTER (timestamp >= DATE '2025-08-25' AND timestamp < DATE '2025-09-22') AS events_prior_28_days
  FROM facts GROUP BY user_id
), days AS (
  SELECT user_id, count(*) AS active_days, count(*) FILTER (bought) AS frequency, min(date) FILTER (bought) AS first_spent, max(date) FILTER (bought) AS last_spent,
    count(*) FILTER (bought AND date > DATE '2025-08-29') AS purchase_days_last_30, count(*) FILTER (bought AND date > DATE '2025-06-30') AS purchase_days_last_90,
    arg_min(spent, date) FILTER (bought) AS first_day_spent
  FROM (SELECT user_id, date, bool_or(event_type = 'purchase') AS bought, sum(value) FILTER (event_type = 'purchase') AS spent FROM facts GROUP BY ALL)
  GROUP BY user_id
), visits AS (
  SELECT user_id, count(*) AS sessions, avg((n = 1)::INT) AS bounce_share FROM (SELECT user_id, session_id, count(*) AS n FROM events GROUP BY ALL) GROUP BY user_id
), channels AS (
  SELECT user_id, arg_max(channel, n) AS top_channel, sum(-n / total * log2(n / total)) AS channel_entropy
  FROM (SELECT *, sum(n) OVER (PARTITION BY user_id) AS total FROM (SELECT user_id, channel, count(*) AS n FROM events WHERE channel IS NOT NULL GROUP BY ALL))
  GROUP BY user_id
), spread AS (
  SELECT user_id, sum(-share * log2(share)) AS category_entropy, max(category) FILTER (rank = 1) AS top_category, max(share) AS top_category_share,
    sum(share * share) AS interest_concentration
  FROM category_shares GROUP BY user_id
), rhythm AS (
  SELECT user_id, avg(cos((hour + 0.5) * pi() / 12)) AS hour_x, avg(sin((hour + 0.5) * pi() / 12)) AS hour_y,
    avg(cos((weekday - 0.5) * 2 * pi() / 7)) AS weekday_x, avg(sin((weekday - 0.5) * 2 * pi() / 7)) AS weekday_y
  FROM facts GROUP BY user_id
), messages AS (
  SELECT user_id, max(total) AS messages, count(*) FILTER (shown AND early) AS early_shown, count(*) FILTER (shown AND NOT early) AS late_shown,
    count(*) FILTER (NOT shown AND early) AS early_clicks, count(*) FILTER (NOT shown AND NOT early) AS late_clicks
  FROM (
    SELECT user_id, shown, total, number * 2 <= total AS early FROM (
      SELECT user_id, event_type = 'impression' AS shown, count(*) FILTER (event_type = 'impression') OVER (PARTITION BY user_id) AS total,
        count(*) FILTER (event_type = 'impression') OVER (PARTITION BY user_id ORDER BY timestamp, event_id ROWS UNBOUNDED PRECEDING) AS number
      FROM events WHERE event_type IN ('impression', 'click')
    )
  ) GROUP BY user_id
)
SELECT *, date_diff('day', last_date, DATE '2025-09-28') AS recency_days, date_diff('day', first_date, DATE '2025-09-28') AS tenure_days,
  date_diff('day', last_spent, DATE '2025-09-28') AS purchase_recency_days, monetary_value / nullif(frequency, 0) AS average_order_value,
  (monetary_value - first_day_spent) / nullif(frequency - 1, 0) AS repeat_order_value,
  date_diff('day', first_spent, last_spent) / nullif(frequency - 1, 0) AS purchase_gap_days, date_diff('day', first_date, last_date) / nullif(active_days - 1, 0) AS active_gap_days,
  events / sessions AS events_per_session, attention_ms / sessions AS attention_ms_per_session, item_attention_ms / nullif(items, 0) AS attention_ms_per_item,
  items / sessions AS items_per_session, coalesce(item_attention_ms, 0) / nullif(attention_ms, 0) AS focus_share,
  atan2(hour_y, hour_x) * 12 / pi() AS peak_hour, sqrt(hour_x * hour_x + hour_y * hour_y) AS rhythm_strength,
  atan2(weekday_y, weekday_x) * 7 / (2 * pi()) AS peak_weekday, sqrt(weekday_x * weekday_x + weekday_y * weekday_y) AS week_rhythm_strength,
  CASE WHEN messages >= 4 THEN early_clicks / nullif(early_shown, 0) - late_clicks / nullif(late_shown, 0) END AS message_fatigue,
  log2((events_last_7_days + 1) / (events_prior_28_days / 4 + 1)) AS trend
FROM sums JOIN days USING (user_id) JOIN visits USING (user_id) JOIN rhythm USING (user_id)
LEFT JOIN spread USING (user_id) LEFT JOIN channels USING (user_id) LEFT JOIN messages USING (user_id);
