const secretParameters = /([?&](?:[a-z0-9_.-]*(?:token|secret|signature|password|credential|code|sig|key))=)[^&#]*/gi

/** An address without what may be a secret in its query. */
export const redactUrl = (url: string): string => url.replace(secretParameters, '$1[redacted]')
