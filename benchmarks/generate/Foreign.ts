/**
 * Prose in other languages: everyday sentences by language, drawn in any order and number.
 *
 * Not translations of each other, and no scenes (`datasets/generate/Languages.ts` has those).
 */
import type { Dice } from "../../datasets/generate/Random.ts"

/** Sentences by ISO 639-1 code. Chinese and Japanese need no blank between two. */
export const foreign: Readonly<Record<string, ReadonlyArray<string>>> = {
  de: [
    "Am Wochenende möchten wir einen Ausflug in die Berge machen und dort übernachten.",
    "Können Sie mir bitte erklären, wie man diese Tabelle richtig ausfüllt?",
    "Die Bibliothek hat gestern ihre Öffnungszeiten geändert.",
    "Zuerst sollten Sie überprüfen, ob alle Kabel fest angeschlossen sind.",
    "Meine Großmutter erzählt gern Geschichten aus ihrer Kindheit auf dem Land.",
    "Es gibt mehrere Möglichkeiten, das Problem zu lösen, aber keine davon ist einfach.",
    "Der Zug hatte wieder eine halbe Stunde Verspätung, deshalb kam ich zu spät zur Arbeit.",
    "Schreiben Sie eine kurze Zusammenfassung des Textes in eigenen Worten.",
    "Wenn das Wetter schön bleibt, essen wir heute Abend draußen im Garten."
  ],
  fr: [
    "Nous avons décidé de passer nos vacances au bord de la mer cette année.",
    "Pourriez-vous m'expliquer comment fonctionne cette nouvelle machine ?",
    "Il faut d'abord vérifier que toutes les données ont été correctement enregistrées.",
    "La boulangerie du quartier ferme toujours le lundi après-midi.",
    "Ce livre raconte l'histoire d'une jeune fille qui rêve de devenir médecin.",
    "Je ne suis pas certain que cette solution soit la meilleure pour tout le monde.",
    "Les enfants jouaient dans le jardin pendant que leurs parents préparaient le dîner.",
    "Écrivez un court résumé du texte en utilisant vos propres mots.",
    "Malgré la pluie, le marché était plein de gens qui cherchaient des légumes frais."
  ],
  es: [
    "El próximo verano queremos viajar por todo el norte del país en tren.",
    "¿Podría explicarme cómo se utiliza esta herramienta paso a paso?",
    "Primero debes comprobar que todos los archivos están en la carpeta correcta.",
    "Mi hermana trabaja en un hospital pequeño cerca de la estación de autobuses.",
    "La reunión se ha aplazado hasta el jueves porque el director está enfermo.",
    "Hay muchas maneras de preparar este plato, pero la más sencilla es la de mi abuela.",
    "Los niños corrían por la playa mientras nosotros buscábamos un lugar con sombra.",
    "Escribe un resumen breve del texto con tus propias palabras.",
    "Aunque hacía mucho frío, decidimos caminar hasta el centro de la ciudad."
  ],
  it: [
    "Quest'estate vorremmo visitare alcune città del sud e mangiare molto bene.",
    "Potrebbe spiegarmi come si compila questo modulo per favore?",
    "Prima di tutto bisogna controllare che il computer sia collegato alla rete.",
    "Mio fratello abita in una vecchia casa di campagna con un grande giardino.",
    "La riunione è stata spostata a giovedì perché il direttore è malato.",
    "Ci sono molti modi per risolvere questo problema, ma nessuno è davvero semplice.",
    "I ragazzi giocavano a pallone nella piazza mentre gli anziani leggevano il giornale.",
    "Scrivi un breve riassunto del testo con parole tue.",
    "Anche se pioveva, abbiamo deciso di andare a piedi fino alla stazione."
  ],
  pt: [
    "No próximo verão queremos viajar pelo interior do país e conhecer novas aldeias.",
    "Você poderia me explicar como funciona este programa, por favor?",
    "Primeiro é preciso verificar se todos os arquivos foram guardados na pasta certa.",
    "A minha irmã trabalha numa pequena livraria perto da estação.",
    "A reunião foi adiada para quinta-feira porque o diretor não está bem.",
    "Não há uma única maneira de resolver este problema, mas algumas são mais simples.",
    "As crianças brincavam na praia enquanto nós preparávamos o almoço.",
    "Escreva um pequeno resumo do texto com as suas próprias palavras.",
    "Embora estivesse muito frio, decidimos caminhar até ao centro da cidade."
  ],
  nl: [
    "Volgend weekend willen we met de fiets langs de rivier naar het noorden rijden.",
    "Kunt u mij uitleggen hoe ik dit formulier het beste kan invullen?",
    "Controleer eerst of alle bestanden in de juiste map zijn opgeslagen.",
    "Mijn zus werkt in een klein ziekenhuis vlak bij het station.",
    "De vergadering is verplaatst naar donderdag omdat de directeur ziek is.",
    "Er zijn verschillende manieren om dit probleem op te lossen, maar geen ervan is makkelijk.",
    "De kinderen speelden in de tuin terwijl hun ouders het eten klaarmaakten.",
    "Schrijf een korte samenvatting van de tekst in je eigen woorden.",
    "Hoewel het erg koud was, besloten we naar het centrum te lopen."
  ],
  pl: [
    "W przyszły weekend chcemy pojechać w góry i spędzić tam kilka dni.",
    "Czy może mi pan wyjaśnić, jak działa ten program?",
    "Najpierw należy sprawdzić, czy wszystkie pliki zostały zapisane we właściwym folderze.",
    "Moja siostra pracuje w małej księgarni niedaleko dworca.",
    "Spotkanie zostało przełożone na czwartek, ponieważ dyrektor jest chory.",
    "Istnieje wiele sposobów rozwiązania tego problemu, ale żaden nie jest prosty.",
    "Dzieci bawiły się w ogrodzie, podczas gdy rodzice przygotowywali kolację.",
    "Napisz krótkie streszczenie tekstu własnymi słowami.",
    "Chociaż było bardzo zimno, postanowiliśmy pójść pieszo do centrum miasta."
  ],
  sv: [
    "Nästa helg vill vi åka till skärgården och bo några dagar i en liten stuga.",
    "Kan du förklara för mig hur man använder det här programmet?",
    "Kontrollera först att alla filer har sparats i rätt mapp.",
    "Min syster arbetar på ett litet sjukhus nära järnvägsstationen.",
    "Mötet har flyttats till torsdag eftersom chefen är sjuk.",
    "Det finns många sätt att lösa problemet, men inget av dem är enkelt.",
    "Barnen lekte i trädgården medan föräldrarna lagade middag.",
    "Skriv en kort sammanfattning av texten med dina egna ord.",
    "Trots att det var mycket kallt bestämde vi oss för att gå till centrum."
  ],
  tr: [
    "Gelecek hafta sonu arkadaşlarımızla birlikte deniz kenarına gitmek istiyoruz.",
    "Bu programın nasıl çalıştığını bana adım adım açıklayabilir misiniz?",
    "Önce bütün dosyaların doğru klasöre kaydedildiğini kontrol etmelisiniz.",
    "Kız kardeşim istasyonun yakınındaki küçük bir hastanede çalışıyor.",
    "Müdür hasta olduğu için toplantı perşembe gününe ertelendi.",
    "Bu sorunu çözmenin birçok yolu var, ama hiçbiri kolay değil.",
    "Çocuklar bahçede oynarken anne ve babaları akşam yemeğini hazırlıyordu.",
    "Metnin kısa bir özetini kendi sözlerinizle yazın.",
    "Hava çok soğuk olmasına rağmen şehir merkezine yürümeye karar verdik."
  ],
  ru: [
    "В следующие выходные мы хотим поехать за город и отдохнуть у реки.",
    "Не могли бы вы объяснить, как работает эта программа?",
    "Сначала нужно проверить, что все файлы сохранены в правильной папке.",
    "Моя сестра работает в небольшой больнице рядом с вокзалом.",
    "Собрание перенесли на четверг, потому что директор заболел.",
    "Есть много способов решить эту задачу, но ни один из них не прост.",
    "Дети играли в саду, пока родители готовили ужин.",
    "Напишите краткое изложение текста своими словами.",
    "Хотя было очень холодно, мы решили дойти до центра пешком."
  ],
  uk: [
    "Наступних вихідних ми хочемо поїхати в гори й відпочити кілька днів.",
    "Чи могли б ви пояснити, як працює ця програма?",
    "Спочатку потрібно перевірити, чи всі файли збережено в потрібній теці.",
    "Моя сестра працює в невеликій лікарні біля залізничного вокзалу.",
    "Збори перенесли на четвер, бо директор захворів.",
    "Є багато способів розв'язати цю задачу, але жоден із них не є простим.",
    "Діти гралися в саду, поки батьки готували вечерю.",
    "Напишіть короткий переказ тексту своїми словами.",
    "Хоча було дуже холодно, ми вирішили йти до центру пішки."
  ],
  ar: [
    "نريد أن نسافر في الصيف القادم إلى الجبال ونقضي هناك عدة أيام.",
    "هل يمكنك أن تشرح لي كيف يعمل هذا البرنامج خطوة بخطوة؟",
    "يجب أولاً التأكد من أن جميع الملفات محفوظة في المجلد الصحيح.",
    "تعمل أختي في مستشفى صغير بالقرب من محطة القطار.",
    "تم تأجيل الاجتماع إلى يوم الخميس لأن المدير مريض.",
    "هناك طرق كثيرة لحل هذه المشكلة ولكن ليست أي منها سهلة.",
    "كان الأطفال يلعبون في الحديقة بينما كان الوالدان يحضران العشاء.",
    "اكتب ملخصاً قصيراً للنص بكلماتك الخاصة."
  ],
  vi: [
    "Cuối tuần tới chúng tôi muốn đi chơi ở vùng núi và nghỉ lại vài ngày.",
    "Bạn có thể giải thích cho tôi cách sử dụng chương trình này không?",
    "Trước tiên bạn cần kiểm tra xem tất cả các tệp đã được lưu đúng thư mục chưa.",
    "Chị gái tôi làm việc trong một bệnh viện nhỏ gần nhà ga.",
    "Cuộc họp đã được dời sang thứ năm vì giám đốc bị ốm.",
    "Có nhiều cách để giải quyết vấn đề này nhưng không có cách nào dễ dàng.",
    "Bọn trẻ chơi trong vườn trong khi bố mẹ chuẩn bị bữa tối.",
    "Hãy viết một bản tóm tắt ngắn của văn bản bằng lời của bạn."
  ],
  zh: [
    "下个周末我们打算去山里住几天，顺便看看那里的老房子。",
    "请您解释一下这个程序是怎么工作的，好吗？",
    "首先要检查所有的文件是否都保存在正确的文件夹里。",
    "我姐姐在火车站附近的一家小医院工作。",
    "因为经理生病了，会议推迟到星期四下午。",
    "解决这个问题有很多办法，但是没有一个是简单的。",
    "孩子们在花园里玩的时候，父母正在准备晚饭。",
    "请用自己的话写一段简短的总结。",
    "虽然天气很冷，我们还是决定走路去市中心。"
  ],
  ja: [
    "来週末は友達と一緒に山へ行って、数日間ゆっくり過ごすつもりです。",
    "このプログラムの使い方を順番に説明していただけますか。",
    "まず、すべてのファイルが正しいフォルダーに保存されているか確認してください。",
    "姉は駅の近くにある小さな病院で働いています。",
    "部長が病気のため、会議は木曜日に延期されました。",
    "この問題を解決する方法はたくさんありますが、どれも簡単ではありません。",
    "両親が夕食の準備をしている間、子供たちは庭で遊んでいました。",
    "文章の短い要約を自分の言葉で書いてください。",
    "とても寒かったのですが、町の中心まで歩くことにしました。"
  ],
  ko: [
    "다음 주말에 친구들과 함께 산에 가서 며칠 동안 쉬려고 합니다.",
    "이 프로그램을 어떻게 사용하는지 순서대로 설명해 주시겠어요?",
    "먼저 모든 파일이 올바른 폴더에 저장되어 있는지 확인해야 합니다.",
    "우리 누나는 기차역 근처에 있는 작은 병원에서 일합니다.",
    "부장님이 아프셔서 회의가 목요일로 미뤄졌습니다.",
    "이 문제를 해결하는 방법은 많지만 쉬운 것은 하나도 없습니다.",
    "부모님이 저녁을 준비하는 동안 아이들은 정원에서 놀았습니다.",
    "글의 짧은 요약을 자신의 말로 써 보세요."
  ]
}

/** Codes, English left out. */
export const foreignCodes: ReadonlyArray<string> = Object.keys(foreign)

/** English sentences with sense, for texts that are labelled: prose of `Lexicon` is English by its words only. */
export const english: ReadonlyArray<string> = [
  "Next weekend we would like to drive to the mountains and stay there for a few days.",
  "Could you please explain to me how this program works, step by step?",
  "First you should check that all the files have been saved in the right folder.",
  "My sister works in a small hospital close to the railway station.",
  "The meeting has been moved to Thursday because the manager is ill.",
  "There are many ways to solve this problem, but none of them is easy.",
  "The children were playing in the garden while their parents made dinner.",
  "Write a short summary of the text in your own words.",
  "Although it was very cold, we decided to walk to the centre of town."
]

/** `count` sentences of a language, drawn one by one. */
export const foreignText = (throws: Dice, code: string, count: number): string =>
  Array.from({ length: count }, () => throws.pick(code === "en" ? english : foreign[code]!)).join(
    code === "zh" || code === "ja" ? "" : " "
  )
