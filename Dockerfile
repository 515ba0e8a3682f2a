# Each step is a plain command that `npm test` runs as well (test/rules/image.test.ts).
FROM node:24-bookworm-slim AS build
WORKDIR /cairn
COPY package.json package-lock.json tsconfig.json ./
COPY scripts scripts
COPY protocol protocol
COPY lfs lfs
COPY src src
COPY migrations migrations
# What runs needs no development tools, and the image has a Node of its own.
RUN npm ci --no-audit --no-fund && npm prune --omit=dev --ignore-scripts --no-audit --no-fund && rm -rf node_modules/node-linux-* node_modules/.bin/node

FROM node:24-bookworm-slim
ENV NODE_ENV=production CAIRN_HOST=0.0.0.0 CAIRN_DATA=/data
WORKDIR /cairn
COPY --from=build /cairn/package.json ./
COPY --from=build /cairn/node_modules node_modules
COPY --from=build /cairn/migrations migrations
COPY --from=build /cairn/build build
# The account `node`, by number so that an orchestrator can see that it is not root.
RUN mkdir /data && chown 1000:1000 /data
USER 1000
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["node", "-e", "fetch('http://127.0.0.1:8080/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "build/src/cli/main.js"]
CMD ["serve"]
