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
WITH sums AS (
  SELECT user_id, category, sum(ms) AS ms
  FROM (SELECT user_id, item_id, sum(greatest(coalesce(attention_ms, 0), 1000)) AS ms FROM events WHERE item_id IS NOT NULL GROUP BY ALL)
  JOIN items USING (item_id) GROUP BY ALL
)
SELECT *, ms / sum(ms) OVER (PARTITION BY user_id) AS share, row_number() OVER (PARTITION BY user_id ORDER BY ms DESC, category) AS rank FROM sums;

CREATE TABLE user_features AS
WITH facts AS (
  SELECT events.*, price_rank, timestamp::DATE AS date, hour(timestamp) AS hour, isodow(timestamp) AS weekday
  FROM events LEFT JOIN items USING (item_id)
), sums AS (
  SELECT user_id, min(date) AS first_date, max(date) AS last_date, count(DISTINCT date) AS active_days, count(*) AS events,
    count(DISTINCT date) FILTER (event_type = 'purchase') AS frequency, max(date) FILTER (event_type = 'purchase') AS last_spent,
    coalesce(sum(value) FILTER (event_type = 'purchase'), 0) AS monetary_value, count(DISTINCT session_id) AS sessions,
    sum(attention_ms) AS attention_ms, sum(attention_ms) FILTER (item_id IS NOT NULL) AS item_attention_ms, count(DISTINCT item_id) AS items,
    avg((hour < 6)::INT) AS night_share, avg((hour BETWEEN 6 AND 11)::INT) AS morning_share, avg((hour BETWEEN 12 AND 17)::INT) AS afternoon_share,
    avg((hour >= 18)::INT) AS evening_share, avg((weekday >= 6)::INT) AS weekend_share,
    avg((device = 'mobile')::INT) AS mobile_share, avg((device = 'tablet')::INT) AS tablet_share, avg(price_rank) AS price_level,
    count(*) FILTER (event_type = 'impression') AS impressions, count(*) FILTER (event_type = 'click') AS clicks,
    count(*) FILTER (event_type = 'search') AS searches, count(*) FILTER (event_type IN ('like', 'share', 'comment', 'follow')) AS social_actions,
    count(*) FILTER (event_type = 'rating') AS ratings, avg(value) FILTER (event_type = 'rating') AS average_rating,
    count(*) FILTER (timestamp >= DATE '2025-09-22') AS events_last_7_days,
    count(*) FILTER (timestamp >= DATE '2025-08-25' AND timestamp < DATE '2025-09-22') AS events_prior_28_days
  FROM facts GROUP BY user_id
), channels AS (
  SELECT user_id, arg_max(channel, n) AS top_channel, sum(-n / total * log2(n / total)) AS channel_entropy
  FROM (SELECT *, sum(n) OVER (PARTITION BY user_id) AS total FROM (SELECT user_id, channel, count(*) AS n FROM events WHERE channel IS NOT NULL GROUP BY ALL))
  GROUP BY user_id
), spread AS (
  SELECT user_id, sum(-share * log2(share)) AS category_entropy, max(category) FILTER (rank = 1) AS top_category, max(share) AS top_category_share
  FROM category_shares GROUP BY user_id
)
SELECT *, date_diff('day', last_date, DATE '2025-09-28') AS recency_days, date_diff('day', first_date, DATE '2025-09-28') AS tenure_days,
  date_diff('day', last_spent, DATE '2025-09-28') AS purchase_recency_days, monetary_value / nullif(frequency, 0) AS average_order_value,
  events / sessions AS events_per_session, attention_ms / sessions AS attention_ms_per_session, item_attention_ms / nullif(items, 0) AS attention_ms_per_item,
  log2((events_last_7_days + 1) / (events_prior_28_days / 4 + 1)) AS trend
FROM sums LEFT JOIN spread USING (user_id) LEFT JOIN channels USING (user_id);
