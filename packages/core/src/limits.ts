/** Every bound that people can meet, by name and with its unit. */
export const NAME_CHARACTERS_MAX = 128;
export const VERSION_CHARACTERS_MAX = 32;
export const FEATURES_MAX = 500;
export const SEATS_MAX = 1_000_000;
export const MEMBERS_MAX = 15;
export const LICENSE_BYTES_MAX = 512 * 1024;
export const BODY_BYTES_MAX = 64 * 1024;
export const PEER_BODY_BYTES_MAX = 4 * 1024 * 1024;
export const TOKEN_CHARACTERS_MAX = 4_096;
export const PAGE_ROWS_DEFAULT = 100;
export const PAGE_ROWS_MAX = 1_000;
export const WAIT_MS_MAX = 24 * 3_600_000;
export const QUEUE_PLACES_MAX = 10_000;
export const TOMBSTONES_MAX = 200_000;
export const REPORT_ROWS_MAX = 2_000;

/** Names of members, features and pools: they become keys, paths and labels. */
export const NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]*$";
