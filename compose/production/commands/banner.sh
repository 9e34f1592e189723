# shellcheck shell=sh
# The banner of the production form.

banner() {
    here="http://127.0.0.1:$(setting LEADS_PUBLIC_PORT 8080)"
    api=$here
    case $(setting LEADS_PUBLIC_HOST 127.0.0.1) in
    127.*) ;;
    *) api="http://$(hostname):$(setting LEADS_PUBLIC_PORT 8080)" ;;
    esac
    curl="curl -s"
    if [ "$(setting LEADS_TLS 0)" = 1 ]; then
        api="https://$(hostname):$(setting LEADS_PUBLIC_TLS_PORT 8443)"
        here="https://127.0.0.1:$(setting LEADS_PUBLIC_TLS_PORT 8443)"
        # The certificate names the host, not its loopback.
        curl="curl -sk"
    fi
    page="  Page      $api/
"
    case $(setting LEADS_PAGE true | tr '[:upper:]' '[:lower:]') in 0 | f | false | n | no | off) page= ;; esac
    cat <<TEXT

  Lead Ingest is ready.

$page  API       $api/api/leads
  Health    $api/health/ready
  Docs      $api/api/docs
  Flower    http://127.0.0.1:$(setting LEADS_PUBLIC_FLOWER_PORT 5555)   (user $(setting LEADS_FLOWER_USER admin), password LEADS_FLOWER_PASSWORD)
  Login     $(setting LEADS_FIRST_USER admin@example.com)   password LEADS_FIRST_PASSWORD
  Passwords in compose/$ENV_FILE

  Send a first lead, and list what is stored:

. compose/$ENV_FILE; TOKEN=\$($curl $here/api/login_check -H 'Content-Type: application/json' -d "{\"email\":\"\$LEADS_FIRST_USER\",\"password\":\"\$LEADS_FIRST_PASSWORD\"}" | sed 's/.*"token":"\\([^"]*\\)".*/\\1/') && $curl $here/api/leads -H "Authorization: Bearer \$TOKEN" -H 'Content-Type: application/json' -d '{"firstName":"Ada","lastName":"Lovelace","email":"ada@example.com","phone":"+442071234567","dateOfBirth":"1990-12-10"}' && echo && sleep 1 && $curl $here/api/leads -H "Authorization: Bearer \$TOKEN" && echo

TEXT
}
