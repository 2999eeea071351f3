//! What clients ask about the catalogue, as they ask it: psql's questions as `psql -E` shows them, and those of JDBC's
//! DatabaseMetaData, DBeaver, Grafana and SQLAlchemy.

use super::{rows, serve, told};
use tokio_postgres::Client;

/// The same answer, line for line.
async fn check(client: &Client, sql: &str, expected: &[&str]) {
    assert_eq!(rows(client, sql).await, expected, "{sql}");
}

/// The id of a relation, by the way that psql finds it.
async fn oid(client: &Client, name: &str) -> String {
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c \
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relname OPERATOR(pg_catalog.~) '^({name})$' COLLATE pg_catalog.default \
         AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3;"
    );
    let found = rows(client, &sql).await;
    let [only] = found.as_slice() else { panic!("{name}: {found:?}") };
    let (oid, rest) = only.split_once(',').expect("three cells");
    assert_eq!(rest, format!("public,{name}"));
    oid.to_owned()
}

#[tokio::test]
async fn psql_lists_what_there_is() {
    let served = serve().await;
    let client = served.connect().await;
    // \l
    check(
        &client,
        "SELECT d.datname as \"Name\", pg_catalog.pg_get_userbyid(d.datdba) as \"Owner\", \
         pg_catalog.pg_encoding_to_char(d.encoding) as \"Encoding\", d.datcollate as \"Collate\", d.datctype as \"Ctype\", \
         d.daticulocale as \"ICU Locale\", CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END AS \"Locale Provider\", \
         pg_catalog.array_to_string(d.datacl, E'\\n') AS \"Access privileges\" FROM pg_catalog.pg_database d ORDER BY 1;",
        &["chalk,chalk,UTF-8,en_US.UTF-8,en_US.UTF-8,NULL,NULL,NULL"],
    )
    .await;
    // \dn
    check(
        &client,
        "SELECT n.nspname AS \"Name\", pg_catalog.pg_get_userbyid(n.nspowner) AS \"Owner\" \
         FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1;",
        &["public,chalk"],
    )
    .await;
    // \d, \dt, \dv
    for (kinds, expected) in [
        (
            "'r','p','v','m','S','f',''",
            &[
                "public,dead_letters,table,chalk",
                "public,late_rows,table,chalk",
                "public,orders,table,chalk",
                "public,totals,view,chalk",
            ][..],
        ),
        (
            "'r','p',''",
            &["public,dead_letters,table,chalk", "public,late_rows,table,chalk", "public,orders,table,chalk"],
        ),
        ("'v',''", &["public,totals,view,chalk"]),
    ] {
        let sql = format!(
            "SELECT n.nspname as \"Schema\", c.relname as \"Name\", CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' \
             WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' \
             WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as \"Type\", \
             pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\" FROM pg_catalog.pg_class c \
             LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam WHERE c.relkind IN ({kinds}) AND n.nspname <> 'pg_catalog' \
             AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' \
             AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2;"
        );
        check(&client, &sql, expected).await;
    }
    served.end().await;
}

#[tokio::test]
async fn psql_describes_a_view() {
    let served = serve().await;
    let client = served.connect().await;
    let relation = oid(&client, "totals").await;
    // Ids stay the same.
    assert_eq!(oid(&client, "totals").await, relation);
    let sql = format!(
        "SELECT c.relchecks, c.relkind, c.relhasindex, c.relhasrules, c.relhastriggers, c.relrowsecurity, \
         c.relforcerowsecurity, false AS relhasoids, c.relispartition, '', c.reltablespace, \
         CASE WHEN c.reloftype = 0 THEN '' ELSE c.reloftype::pg_catalog.regtype::pg_catalog.text END, c.relpersistence, \
         c.relreplident, am.amname FROM pg_catalog.pg_class c \
         LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid) \
         LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid) WHERE c.oid = '{relation}';"
    );
    let found = rows(&client, &sql).await;
    assert!(found.len() == 1 && found[0].starts_with("0,v,f,f,f,f,f,f,f,,0,"), "{found:?}");
    let sql = format!(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
         (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d \
         WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, \
         (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t WHERE c.oid = a.attcollation \
         AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation, a.attidentity, a.attgenerated \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = '{relation}' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;"
    );
    check(&client, &sql, &["shop,text,NULL,t,NULL,,", "day,bigint,NULL,t,NULL,,", "total,bigint,NULL,f,NULL,,"]).await;
    for sql in [
        format!(
            "SELECT pol.polname, pol.polpermissive, CASE WHEN pol.polroles = '{{0}}' THEN NULL ELSE \
             pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END, \
             pg_catalog.pg_get_expr(pol.polqual, pol.polrelid), pg_catalog.pg_get_expr(pol.polwithcheck, pol.polrelid), \
             CASE pol.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' END AS cmd \
             FROM pg_catalog.pg_policy pol WHERE pol.polrelid = '{relation}' ORDER BY 1;"
        ),
        format!(
            "SELECT c.oid::pg_catalog.regclass FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i \
             WHERE c.oid = i.inhparent AND i.inhrelid = '{relation}' AND c.relkind != 'p' AND c.relkind != 'I' ORDER BY inhseqno;"
        ),
        format!(
            "SELECT r.rulename, trim(trailing ';' from pg_catalog.pg_get_ruledef(r.oid, true)) \
             FROM pg_catalog.pg_rewrite r WHERE r.ev_class = '{relation}' AND r.rulename != '_RETURN' ORDER BY 1;"
        ),
    ] {
        check(&client, &sql, &[]).await;
    }
    served.end().await;
}

#[tokio::test]
async fn jdbc_reads_metadata() {
    let served = serve().await;
    let client = served.connect().await;
    check(
        &client,
        "SELECT nspname AS TABLE_SCHEM, current_database() AS TABLE_CATALOG FROM pg_catalog.pg_namespace \
         WHERE nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1]) \
         AND (nspname !~ '^pg_toast_temp_' OR nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_')) \
         ORDER BY TABLE_SCHEM",
        &["information_schema,chalk", "pg_catalog,chalk", "public,chalk"],
    )
    .await;
    check(
        &client,
        "SELECT current_database() AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, \
         CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN CASE \
         WHEN n.nspname = 'pg_catalog' OR n.nspname = 'information_schema' THEN CASE c.relkind WHEN 'r' THEN 'SYSTEM TABLE' \
         WHEN 'v' THEN 'SYSTEM VIEW' WHEN 'i' THEN 'SYSTEM INDEX' ELSE NULL END ELSE NULL END \
         WHEN false THEN CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END \
         ELSE NULL END AS TABLE_TYPE, d.description AS REMARKS, '' as TYPE_CAT, '' as TYPE_SCHEM, '' as TYPE_NAME, \
         '' AS SELF_REFERENCING_COL_NAME, '' AS REF_GENERATION FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c \
         LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0 and d.classoid = 'pg_class'::regclass) \
         WHERE c.relnamespace = n.oid AND n.nspname LIKE 'public' AND (false \
         OR ( c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ) \
         OR ( c.relkind = 'v' AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' ) ) \
         ORDER BY TABLE_TYPE,TABLE_SCHEM,TABLE_NAME",
        &[
            "chalk,public,dead_letters,TABLE,NULL,,,,,",
            "chalk,public,late_rows,TABLE,NULL,,,,,",
            "chalk,public,orders,TABLE,NULL,,,,,",
            "chalk,public,totals,VIEW,NULL,,,,,",
        ],
    )
    .await;
    check(
        &client,
        "SELECT * FROM (SELECT current_database() AS current_database, n.nspname,c.relname,a.attname,a.atttypid,\
         a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull,a.atttypmod,a.attlen,t.typtypmod,\
         row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity,\
         nullif(a.attgenerated, '') as attgenerated,pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc,dsc.description,\
         t.typbasetype,t.typtype FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid) \
         JOIN pg_catalog.pg_attribute a ON (a.attrelid=c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) \
         LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid=def.adrelid AND a.attnum = def.adnum) \
         LEFT JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) \
         LEFT JOIN pg_catalog.pg_class dc ON (dc.oid=dsc.classoid AND dc.relname='pg_class') \
         LEFT JOIN pg_catalog.pg_namespace dn ON (dc.relnamespace=dn.oid AND dn.nspname='pg_catalog') \
         WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped AND c.relname LIKE 'totals') c \
         WHERE true ORDER BY nspname,c.relname,attnum",
        &[
            "chalk,public,totals,shop,25,t,-1,-1,-1,1,NULL,NULL,NULL,NULL,0,b",
            "chalk,public,totals,day,20,t,-1,8,-1,2,NULL,NULL,NULL,NULL,0,b",
            "chalk,public,totals,total,20,f,-1,8,-1,3,NULL,NULL,NULL,NULL,0,b",
        ],
    )
    .await;
    // getPrimaryKeys
    check(
        &client,
        "SELECT result.TABLE_CAT, result.TABLE_SCHEM, result.TABLE_NAME, result.COLUMN_NAME, result.KEY_SEQ, result.PK_NAME \
         FROM (SELECT current_database() AS TABLE_CAT, n.nspname AS TABLE_SCHEM, ct.relname AS TABLE_NAME, \
         a.attname AS COLUMN_NAME, (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME, \
         information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM FROM pg_catalog.pg_class ct \
         JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid) \
         JOIN pg_catalog.pg_index i ON ( a.attrelid = i.indrelid) JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) \
         WHERE true AND ct.relname = 'totals' AND i.indisprimary ) result where result.A_ATTNUM = (result.KEYS).x \
         ORDER BY result.table_name, result.pk_name, result.key_seq",
        &[],
    )
    .await;
    // getIndexInfo
    check(
        &client,
        "SELECT tmp.TABLE_CAT, tmp.TABLE_SCHEM, tmp.TABLE_NAME, tmp.NON_UNIQUE, tmp.INDEX_QUALIFIER, tmp.INDEX_NAME, tmp.TYPE, \
         tmp.ORDINAL_POSITION, trim(both '\"' from pg_catalog.pg_get_indexdef(tmp.CI_OID, tmp.ORDINAL_POSITION, false)) AS COLUMN_NAME, \
         CASE tmp.AM_NAME WHEN 'btree' THEN CASE tmp.I_INDOPTION[tmp.ORDINAL_POSITION - 1] & 1::smallint WHEN 1 THEN 'D' ELSE 'A' END \
         ELSE NULL END AS ASC_OR_DESC, tmp.CARDINALITY, tmp.PAGES, tmp.FILTER_CONDITION FROM (SELECT NULL AS TABLE_CAT, \
         n.nspname AS TABLE_SCHEM, ct.relname AS TABLE_NAME, NOT i.indisunique AS NON_UNIQUE, NULL AS INDEX_QUALIFIER, \
         ci.relname AS INDEX_NAME, CASE i.indisclustered WHEN true THEN 1 ELSE CASE am.amname WHEN 'hash' THEN 2 ELSE 3 END END AS TYPE, \
         (information_schema._pg_expandarray(i.indkey)).n AS ORDINAL_POSITION, ci.reltuples AS CARDINALITY, ci.relpages AS PAGES, \
         pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS FILTER_CONDITION, ci.oid AS CI_OID, i.indoption AS I_INDOPTION, \
         am.amname AS AM_NAME FROM pg_catalog.pg_class ct JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid) \
         JOIN pg_catalog.pg_index i ON (ct.oid = i.indrelid) JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) \
         JOIN pg_catalog.pg_am am ON (ci.relam = am.oid) WHERE true AND ct.relname = 'totals') AS tmp \
         ORDER BY NON_UNIQUE, TYPE, INDEX_NAME, ORDINAL_POSITION",
        &[],
    )
    .await;
    // getTypeInfo
    let types = rows(
        &client,
        "SELECT typinput='pg_catalog.array_in'::regproc as is_array, typtype, typname, pg_type.oid FROM pg_catalog.pg_type \
         LEFT JOIN (select ns.oid as nspoid, ns.nspname, r.r from pg_namespace as ns \
         join ( select s.r, (current_schemas(false))[s.r] as nspname from generate_series(1, array_upper(current_schemas(false), 1)) as s(r) ) \
         as r using ( nspname ) ) as sp ON sp.nspoid = typnamespace ORDER BY sp.r, pg_type.oid DESC",
    )
    .await;
    assert!(types.contains(&"f,b,int8,20".to_owned()), "{types:?}");
    check(&client, "SELECT current_schema(),session_user", &["public,chalk"]).await;
    served.end().await;
}

#[tokio::test]
async fn dbeaver_opens_its_tree() {
    let served = serve().await;
    let client = served.connect().await;
    let found = rows(
        &client,
        "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate OR db.datname ='chalk' ORDER BY db.datname",
    )
    .await;
    assert!(found.len() == 1 && found[0].contains(",chalk,"), "{found:?}");
    let found = rows(
        &client,
        "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d \
         ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname",
    )
    .await;
    let public = found.iter().find(|row| row.contains(",public,")).expect("the schema");
    let namespace = public.split(',').next().expect("an id");
    let sql = format!(
        "SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, \
         pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c \
         LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass \
         WHERE c.relnamespace={namespace} AND c.relkind not in ('i','I','c')"
    );
    let found = rows(&client, &sql).await;
    assert_eq!(found.len(), 4, "{found:?}");
    let relation = oid(&client, "totals").await;
    assert!(found.iter().any(|row| row.starts_with(&format!("{relation},"))), "{found:?}");
    let sql = format!(
        "SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description,dep.objid \
         FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid) \
         LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum) \
         LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) \
         LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum \
         and dep.classid = dep.refclassid WHERE NOT a.attisdropped AND c.relkind not in ('i','I','c') AND c.oid={relation} ORDER BY a.attnum"
    );
    let found = rows(&client, &sql).await;
    assert!(found.len() == 3 && found[1].contains(",day,"), "{found:?}");
    for sql in [
        format!(
            "SELECT c.oid,c.*,t.relname as tabrelname,rt.relnamespace as refnamespace,d.description, null as consrc_copy \
             FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid=c.conrelid \
             LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid=c.confrelid \
             LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_constraint'::regclass \
             WHERE c.conrelid={relation} ORDER BY c.oid"
        ),
        "select * from pg_catalog.pg_settings where name='nothing'".to_owned(),
    ] {
        check(&client, &sql, &[]).await;
    }
    let types = rows(
        &client,
        "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description \
         FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem \
         LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid \
         WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')",
    )
    .await;
    assert!(types.iter().any(|row| row.starts_with("20,") && row.contains("int8")), "{} types", types.len());
    served.end().await;
}

#[tokio::test]
async fn grafana_offers_tables_and_columns() {
    let served = serve().await;
    let client = served.connect().await;
    check(&client, "SELECT current_setting('server_version_num')::int/100 as version", &["1600"]).await;
    let path = "SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END FROM generate_series(\
                array_lower(string_to_array(current_setting('search_path'),','),1), \
                array_upper(string_to_array(current_setting('search_path'),','),1)) as i, \
                string_to_array(current_setting('search_path'),',') s";
    let sql = format!(
        "SELECT CASE WHEN quote_ident(table_schema) IN ({path}) THEN quote_ident(table_name) \
         ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS \"table\" FROM information_schema.tables \
         WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache') \
         ORDER BY CASE WHEN quote_ident(table_schema) IN ({path}) THEN 0 ELSE 1 END, 1"
    );
    check(&client, &sql, &["public.dead_letters", "public.late_rows", "public.orders", "public.totals"]).await;
    let name = "parse_ident('public.totals')";
    let sql = format!(
        "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns WHERE \
         CASE WHEN array_length({name},1) = 2 THEN quote_ident(table_schema) = ({name})[1] AND quote_ident(table_name) = ({name})[2] \
         ELSE quote_ident(table_name) = 'public.totals' AND quote_ident(table_schema) IN ({path}) END"
    );
    let found = rows(&client, &sql).await;
    let names: Vec<&str> = found.iter().filter_map(|row| row.split(',').next()).collect();
    assert_eq!(names, ["shop", "day", "total"]);
    served.end().await;
}

#[tokio::test]
async fn the_standard_way_to_ask_works_in_every_dialect() {
    let served = serve().await;
    let client = served.connect().await;
    let sql = "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables \
               WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY table_name";
    let expected = [
        "chalk,public,dead_letters,BASE TABLE",
        "chalk,public,late_rows,BASE TABLE",
        "chalk,public,orders,BASE TABLE",
        "chalk,public,totals,VIEW",
    ];
    check(&client, sql, &expected).await;
    let sql = "SELECT column_name, is_nullable FROM information_schema.columns WHERE table_name = 'totals' ORDER BY ordinal_position";
    check(&client, sql, &["shop,NO", "day,NO", "total,YES"]).await;
    let (code, message, _, _) = told(&client, "SELECT * FROM pg_catalog.pg_nothing").await;
    assert_eq!((code.code(), message.as_str()), ("42P01", "there is no view or topic 'pg_catalog.pg_nothing'"));
    served.end().await;
}
